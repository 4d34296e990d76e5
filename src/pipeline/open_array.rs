//! Opens an electrode array: the twin's, one behind RHX, one on a front end of our own, or a recording that is replayed.

use mimicd_device::{ArrayIndex, DeviceError, DeviceErrorKind, EphysSource};
use mimicd_hw::direct::{DirectOptions, DirectSource};
use mimicd_hw::file::{FileOptions, FileSource};
use mimicd_hw::rhx::{RhxOptions, RhxSource};
use mimicd_sim::Twin;

use super::open_error::{OpenError, unsupported};
use crate::config::{ArrayBackend, ArrayConfig};

/// How far a device's rate may be from the config's.
const RATE_TOLERANCE: f64 = 1e-3;

/// Opens the array that `array` describes.
pub(super) fn open(
    array: &ArrayConfig,
    index: ArrayIndex,
    twin: Option<&Twin>,
) -> Result<Box<dyn EphysSource>, OpenError> {
    let name = format!("array.{}", array.name);
    if array.backend == ArrayBackend::Twin {
        return match twin {
            Some(twin) => Ok(Box::new(twin.array(index))),
            None => Err(unsupported(&name, "the twin backend without a twin")),
        };
    }
    open_real(array, index).map_err(|error| OpenError::Device { name, error })
}

fn open_real(array: &ArrayConfig, index: ArrayIndex) -> Result<Box<dyn EphysSource>, DeviceError> {
    let source: Box<dyn EphysSource> = match array.backend {
        ArrayBackend::Rhx => Box::new(RhxSource::open(RhxOptions::parse(&array.device, index, array.channels)?)?),
        ArrayBackend::Direct => {
            let options = DirectOptions::parse(&array.device, index, array.channels, array.rate_hz)?;
            Box::new(DirectSource::new(options))
        }
        ArrayBackend::File | ArrayBackend::Twin => Box::new(open_file(array, index)?),
    };
    if (source.rate_hz() / array.rate_hz - 1.0).abs() > RATE_TOLERANCE {
        return Err(differs(array, source.identity(), "rate_hz", array.rate_hz, source.rate_hz()));
    }
    Ok(source)
}

fn open_file(array: &ArrayConfig, index: ArrayIndex) -> Result<FileSource, DeviceError> {
    let source = FileSource::open(FileOptions {
        array: index,
        channel_first: array.channel_first,
        channels: Some(array.channels),
        block_samples: array.block_samples,
        ..FileOptions::new(&array.device)
    })?;
    if (source.gain_uv_per_bit() / array.gain_uv_per_bit - 1.0).abs() > 1e-6 {
        let (config, file) = (array.gain_uv_per_bit, source.gain_uv_per_bit());
        return Err(differs(array, source.identity(), "gain_uv_per_bit", config, file));
    }
    Ok(source)
}

fn differs(array: &ArrayConfig, identity: &str, key: &str, config: f64, device: f64) -> DeviceError {
    let context = format!("array.{}.{key} = {config}; {identity} has {device}: write that into the config", array.name);
    DeviceError::new(DeviceErrorKind::Unsupported, context)
}
