//! An HDF5 file as NWB wants it: typed objects with stable identities, text, tables, links.

use std::path::{Path, PathBuf};

use rust_hdf5::types::{H5Type, VarLenUnicode};
use rust_hdf5::{DatatypeMessage, H5Dataset, H5File, H5Group};
use sha2::{Digest as _, Sha256};

use crate::export::error::ExportError;

/// Rows of a chunk that grows.
const CHUNK_ROWS: usize = 8_192;
/// zlib level of growing datasets; higher levels gain little on noise.
const DEFLATE: u32 = 1;
/// Padding of fixed-length text: zeros.
const ZERO_PADDED: u8 = 1;
/// Character set of text: UTF-8.
const UTF8: u8 = 1;

/// The file being written.
pub(super) struct NwbFile {
    file: H5File,
    path: PathBuf,
    seed: String,
}

/// A group of the file.
pub(super) struct Node<'a> {
    file: &'a NwbFile,
    group: H5Group,
    path: String,
}

impl NwbFile {
    /// Begins the file; identities of its objects follow from `seed` and their place, so the same export is the same file.
    pub(super) fn create(path: &Path, seed: &str) -> Result<Self, ExportError> {
        let file = H5File::create(path).map_err(|error| hdf5(path, error))?;
        Ok(Self { file, path: path.to_owned(), seed: seed.to_owned() })
    }

    pub(super) fn root(&self) -> Node<'_> {
        Node { file: self, group: self.file.root_group(), path: String::new() }
    }

    /// Marks the root as an `NWBFile`.
    pub(super) fn mark(&self, version: &str) -> Result<(), ExportError> {
        let attributes = [
            ("namespace", "core"),
            ("neurodata_type", "NWBFile"),
            ("nwb_version", version),
            ("object_id", &self.id("/")),
        ];
        for (name, value) in attributes {
            self.file.set_attr_string(name, value).map_err(|error| self.failed(error))?;
        }
        Ok(())
    }

    /// Names the group of the embedded specifications.
    pub(super) fn mark_specifications(&self) -> Result<(), ExportError> {
        self.file.set_attr_object_reference(".specloc", "/specifications").map_err(|error| self.failed(error))
    }

    pub(super) fn close(self) -> Result<(), ExportError> {
        let path = self.path;
        self.file.close().map_err(|error| hdf5(&path, error))
    }

    fn failed(&self, error: rust_hdf5::Hdf5Error) -> ExportError {
        hdf5(&self.path, error)
    }

    /// A UUID (version 8, RFC 9562) that follows from the recording and the object's place.
    fn id(&self, place: &str) -> String {
        let hash = Sha256::digest(format!("{}:{place}", self.seed));
        let mut bytes: [u8; 16] = std::array::from_fn(|index| hash[index]);
        bytes[6] = bytes[6] & 0x0F | 0x80;
        bytes[8] = bytes[8] & 0x3F | 0x80;
        let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        [&hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]].join("-")
    }
}

fn hdf5(path: &Path, error: rust_hdf5::Hdf5Error) -> ExportError {
    ExportError::Hdf5 { path: path.to_owned(), reason: error.to_string() }
}

impl<'a> Node<'a> {
    /// Absolute path within the file.
    pub(super) fn path(&self) -> &str {
        &self.path
    }

    /// A plain group.
    pub(super) fn group(&self, name: &str) -> Result<Node<'a>, ExportError> {
        let group = self.group.create_group(name).map_err(|error| self.file.failed(error))?;
        Ok(Node { file: self.file, group, path: format!("{}/{name}", self.path) })
    }

    /// A group that is there already.
    pub(super) fn open(&self, name: &str) -> Result<Node<'a>, ExportError> {
        let group = self.group.group(name).map_err(|error| self.file.failed(error))?;
        Ok(Node { file: self.file, group, path: format!("{}/{name}", self.path) })
    }

    /// A group that is an object of `namespace`.
    pub(super) fn object(&self, name: &str, namespace: &str, kind: &str) -> Result<Node<'a>, ExportError> {
        let node = self.group(name)?;
        let id = self.file.id(&node.path);
        for (name, value) in [("namespace", namespace), ("neurodata_type", kind), ("object_id", &id)] {
            node.attribute(name, value)?;
        }
        Ok(node)
    }

    /// A text attribute.
    pub(super) fn attribute(&self, name: &str, value: &str) -> Result<(), ExportError> {
        self.group.set_attr_string(name, value).map_err(|error| self.file.failed(error))
    }

    /// A list-of-text attribute.
    pub(super) fn attribute_list(&self, name: &str, values: &[&str]) -> Result<(), ExportError> {
        self.group.set_attr_string_array(name, values).map_err(|error| self.file.failed(error))
    }

    /// A soft link.
    pub(super) fn link(&self, name: &str, target: &str) -> Result<(), ExportError> {
        self.group.create_soft_link(name, target).map_err(|error| self.file.failed(error))
    }

    /// A single text.
    pub(super) fn text(&self, name: &str, text: &str) -> Result<Data<'a>, ExportError> {
        let size = text.len().max(1) as u32;
        let kind = DatatypeMessage::FixedString { size, padding: ZERO_PADDED, charset: UTF8 };
        let set = self.group.new_dataset::<u8>().datatype(kind).scalar().create(name);
        let data = self.data(name, set)?;
        let mut bytes = text.as_bytes().to_vec();
        bytes.resize(size as usize, 0);
        data.checked(data.set.write_raw_bytes(&bytes))?;
        Ok(data)
    }

    /// A single number.
    pub(super) fn number<T: H5Type>(&self, name: &str, value: T) -> Result<Data<'a>, ExportError> {
        let data = self.data(name, self.group.new_dataset::<T>().scalar().create(name))?;
        data.checked(data.set.write_raw(&[value]))?;
        Ok(data)
    }

    /// A list of texts.
    pub(super) fn texts(&self, name: &str, texts: &[&str]) -> Result<Data<'a>, ExportError> {
        self.data(name, self.group.write_vlen_strings(name, texts))
    }

    /// A whole array.
    pub(super) fn array<T: H5Type>(&self, name: &str, shape: &[usize], values: &[T]) -> Result<Data<'a>, ExportError> {
        let data = self.data(name, self.group.new_dataset::<T>().shape(shape).create(name))?;
        if !values.is_empty() {
            data.checked(data.set.write_raw(values))?;
        }
        Ok(data)
    }

    /// References to objects.
    pub(super) fn references(&self, name: &str, targets: &[&str]) -> Result<Data<'a>, ExportError> {
        let set = self.group.new_dataset::<u64>().object_references().shape([targets.len()]).create(name);
        let data = self.data(name, set)?;
        data.checked(data.set.write_object_references(targets))?;
        Ok(data)
    }

    /// A compressed array that grows row by row; rows have `width` values, or are single values when it is 0.
    pub(super) fn growing<T: H5Type>(&self, name: &str, width: usize) -> Result<Data<'a>, ExportError> {
        let builder = self.group.new_dataset::<T>().shuffle_deflate(DEFLATE);
        let builder = if width == 0 {
            builder.shape([0]).chunk(&[CHUNK_ROWS]).max_shape(&[None])
        } else {
            builder.shape([0, width]).chunk(&[CHUNK_ROWS, width]).max_shape(&[None, Some(width)])
        };
        self.data(name, builder.create(name))
    }

    fn data(&self, name: &str, set: rust_hdf5::Result<H5Dataset>) -> Result<Data<'a>, ExportError> {
        let set = set.map_err(|error| self.file.failed(error))?;
        Ok(Data { file: self.file, set, path: format!("{}/{name}", self.path) })
    }
}

/// A dataset of the file.
pub(super) struct Data<'a> {
    file: &'a NwbFile,
    set: H5Dataset,
    path: String,
}

impl Data<'_> {
    /// Makes it an object of `namespace`.
    pub(super) fn object(self, namespace: &str, kind: &str, description: &str) -> Result<Self, ExportError> {
        let id = self.file.id(&self.path);
        let this = self.attribute("namespace", namespace)?.attribute("neurodata_type", kind)?;
        let this = this.attribute("object_id", &id)?;
        if description.is_empty() { Ok(this) } else { this.attribute("description", description) }
    }

    /// A text attribute.
    pub(super) fn attribute(self, name: &str, value: &str) -> Result<Self, ExportError> {
        let attribute = self.set.new_attr::<VarLenUnicode>().shape(()).create(name);
        self.checked(attribute.and_then(|attribute| attribute.write_string(value)))?;
        Ok(self)
    }

    /// A number as an attribute.
    pub(super) fn number<T: H5Type + 'static>(self, name: &str, value: T) -> Result<Self, ExportError> {
        let attribute = self.set.new_attr::<T>().shape(()).create(name);
        self.checked(attribute.and_then(|attribute| attribute.write_numeric(&value)))?;
        Ok(self)
    }

    /// A list of numbers as an attribute.
    pub(super) fn numbers<T: H5Type + 'static>(self, name: &str, values: &[T]) -> Result<Self, ExportError> {
        let attribute = self.set.new_attr::<T>().shape([values.len()]).create(name);
        self.checked(attribute.and_then(|attribute| attribute.write_array(values)))?;
        Ok(self)
    }

    /// A reference as an attribute.
    pub(super) fn reference(self, name: &str, target: &str) -> Result<Self, ExportError> {
        let attribute = self.set.new_attr::<u64>().shape(()).create(name);
        self.checked(attribute.and_then(|attribute| attribute.write_object_references(&[target])))?;
        Ok(self)
    }

    /// Adds rows.
    pub(super) fn append<T: H5Type>(&self, values: &[T]) -> Result<(), ExportError> {
        if values.is_empty() { Ok(()) } else { self.checked(self.set.append(values)) }
    }

    fn checked<T>(&self, result: rust_hdf5::Result<T>) -> Result<T, ExportError> {
        result.map_err(|error| self.file.failed(error))
    }
}
