//! Little-endian fields of a frame, written and read in order, bounds always checked.

/// Writes fields into a fixed buffer.
pub(crate) struct Writer<'a> {
    buffer: &'a mut [u8],
    len: usize,
}

macro_rules! put {
    ($($name:ident: $type:ty),+) => {$(
        pub(crate) fn $name(&mut self, value: $type) {
            self.bytes(&value.to_le_bytes());
        }
    )+};
}

impl<'a> Writer<'a> {
    pub(crate) const fn new(buffer: &'a mut [u8]) -> Self {
        Self { buffer, len: 0 }
    }

    put!(u8: u8, u16: u16, u32: u32, u64: u64);

    pub(crate) fn bool(&mut self, value: bool) {
        self.u8(u8::from(value));
    }

    /// # Panics
    /// If the buffer is too small: every message fits `FRAME_MAX`, which a test checks for each kind.
    pub(crate) fn bytes(&mut self, bytes: &[u8]) {
        self.buffer[self.len..self.len + bytes.len()].copy_from_slice(bytes);
        self.len += bytes.len();
    }

    pub(crate) const fn len(&self) -> usize {
        self.len
    }

    pub(crate) fn written(&self) -> &[u8] {
        &self.buffer[..self.len]
    }
}

/// Reads fields; `None` where the bytes end too early or a value is impossible.
pub(crate) struct Reader<'a> {
    bytes: &'a [u8],
}

macro_rules! get {
    ($($name:ident: $type:ty),+) => {$(
        pub(crate) fn $name(&mut self) -> Option<$type> {
            let (field, rest) = self.bytes.split_first_chunk()?;
            self.bytes = rest;
            Some(<$type>::from_le_bytes(*field))
        }
    )+};
}

impl<'a> Reader<'a> {
    pub(crate) const fn new(bytes: &'a [u8]) -> Self {
        Self { bytes }
    }

    get!(u8: u8, u16: u16, u32: u32, u64: u64);

    pub(crate) fn bool(&mut self) -> Option<bool> {
        match self.u8()? {
            0 => Some(false),
            1 => Some(true),
            _ => None,
        }
    }

    pub(crate) const fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }
}
