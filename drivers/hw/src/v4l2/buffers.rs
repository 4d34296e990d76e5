//! The image buffers that driver and daemon share: the one place where mapped memory becomes a slice, where frames' own memory is
//! lent to a driver, and where the streaming requests of V4L2 are made (`v4l`'s own streams block for their first frame and
//! give no buffer without queueing one).
//!
//! | memory | whose | an image is |
//! |---|---|---|
//! | lent (`V4L2_MEMORY_USERPTR`) | ours | swapped with a frame's pixels: nothing is copied |
//! | mapped (`V4L2_MEMORY_MMAP`) | the driver's | copied into a frame's pixels |

#![expect(unsafe_code, reason = "mmap and ioctl; each block says why it is sound")]

use std::io;
use std::mem::zeroed;
use std::sync::Arc;

use v4l::device::Handle;
use v4l::v4l_sys::{v4l2_buffer, v4l2_memory, v4l2_requestbuffers};
use v4l::v4l2::vidioc::{
    VIDIOC_DQBUF, VIDIOC_QBUF, VIDIOC_QUERYBUF, VIDIOC_REQBUFS, VIDIOC_STREAMOFF, VIDIOC_STREAMON,
};
use v4l::{Device, v4l2};

const CAPTURE: u32 = 1;
const MEMORY_MMAP: v4l2_memory = 1;
const MEMORY_USERPTR: v4l2_memory = 2;

/// One mapped buffer.
struct Map {
    at: *mut std::ffi::c_void,
    bytes: usize,
}

// SAFETY: the mapping belongs to the process, not to a thread, and nothing else keeps its address.
unsafe impl Send for Map {}

impl Drop for Map {
    fn drop(&mut self) {
        // SAFETY: `at` and `bytes` are what mmap returned, unmapped once, here; slices of it borrow the `Buffers` that own it.
        unsafe { v4l2::munmap(self.at, self.bytes) }.ok(); // Nothing can be done about memory that will not go.
    }
}

/// Memory of our own that is with the driver; null while it is not.
struct Lent {
    at: *mut u8,
    bytes: usize,
}

// SAFETY: it is the sole owner of a box that any thread may free.
unsafe impl Send for Lent {}

impl Lent {
    const NONE: Self = Self { at: std::ptr::null_mut(), bytes: 0 };

    /// While the driver may write it no reference may exist, so the box becomes a pointer.
    fn new(memory: Box<[u8]>) -> Self {
        let bytes = memory.len();
        Self { at: Box::into_raw(memory).cast(), bytes }
    }

    fn take_back(&mut self) -> Option<Box<[u8]>> {
        let Self { at, bytes } = std::mem::replace(self, Self::NONE);
        if at.is_null() {
            return None;
        }
        // SAFETY: `at` came from `Box::into_raw` of a slice of that length, and is given back once, here.
        let memory = unsafe { Box::from_raw(std::ptr::slice_from_raw_parts_mut(at, bytes)) };
        Some(memory)
    }
}

/// What the driver says of a filled buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Filled {
    pub(super) index: u32,
    pub(super) sequence: u32,
    pub(super) flags: u32,
    pub(super) bytes_used: usize,
    pub(super) seconds: i64,
    pub(super) micros: i64,
}

/// Buffers, all with the driver, but for the one that was last taken. Either mapped or lent.
pub(super) struct Buffers {
    // Order of fields is order of drop: memory goes before the device that it came from.
    maps: Vec<Map>,
    lent: Vec<Lent>,
    handle: Arc<Handle>,
    streaming: bool,
}

impl Buffers {
    /// Asks the driver for `count` buffers and maps what it gives.
    pub(super) fn map(device: &Device, count: u32) -> io::Result<Self> {
        let mut this = Self::none(device);
        let given = this.request_count(count, MEMORY_MMAP)?;
        for index in 0..given {
            let mut buffer = blank(index, MEMORY_MMAP);
            this.request(VIDIOC_QUERYBUF, &mut buffer)?;
            let bytes = buffer.length as usize;
            // SAFETY: the driver answered QUERYBUF for mmap memory, so the union holds an offset.
            let offset = unsafe { buffer.m.offset };
            // SAFETY: a fresh mapping at an address of the kernel's choice, of the length and offset that the driver named.
            let at = unsafe {
                v4l2::mmap(
                    std::ptr::null_mut(),
                    bytes,
                    libc::PROT_READ | libc::PROT_WRITE,
                    libc::MAP_SHARED,
                    this.handle.fd(),
                    offset.into(),
                )
            }?;
            this.maps.push(Map { at, bytes });
        }
        Ok(this)
    }

    /// Asks the driver to write into `count` buffers of ours, `bytes` long each.
    ///
    /// # Errors
    /// `InvalidInput` from a driver that writes into memory of its own only.
    pub(super) fn lend(device: &Device, count: u32, bytes: usize) -> io::Result<Self> {
        let mut this = Self::none(device);
        let given = this.request_count(count, MEMORY_USERPTR)?;
        this.lent.extend((0..given).map(|_| Lent::new(vec![0; bytes].into_boxed_slice())));
        Ok(this)
    }

    fn none(device: &Device) -> Self {
        Self { maps: Vec::new(), lent: Vec::new(), handle: device.handle(), streaming: false }
    }

    fn memory(&self) -> v4l2_memory {
        if self.lent.is_empty() { MEMORY_MMAP } else { MEMORY_USERPTR }
    }

    pub(super) fn count(&self) -> u32 {
        self.maps.len().max(self.lent.len()) as u32
    }

    /// Hands all buffers to the driver and lets it begin.
    pub(super) fn start(&mut self) -> io::Result<()> {
        for index in 0..self.count() {
            self.queue(index)?;
        }
        self.switch(VIDIOC_STREAMON)?;
        self.streaming = true;
        Ok(())
    }

    /// Hands a buffer back.
    pub(super) fn queue(&mut self, index: u32) -> io::Result<()> {
        let mut buffer = blank(index, self.memory());
        if let Some(lent) = self.lent.get(index as usize) {
            buffer.m.userptr = lent.at as std::ffi::c_ulong;
            buffer.length = lent.bytes as u32;
        }
        self.request(VIDIOC_QBUF, &mut buffer)
    }

    /// Swaps a lent buffer that has been taken, and not yet handed back, with `memory` of the same length, which goes to the
    /// driver in its place. `false` for a buffer that is not lent.
    pub(super) fn swap(&mut self, filled: &Filled, memory: &mut Box<[u8]>) -> bool {
        let Some(lent) = self.lent.get_mut(filled.index as usize).filter(|lent| lent.bytes == memory.len()) else {
            return false;
        };
        let Some(image) = lent.take_back() else { return false };
        *lent = Lent::new(std::mem::replace(memory, image));
        true
    }

    /// Takes the oldest filled buffer, if one is there.
    pub(super) fn dequeue(&mut self) -> io::Result<Option<Filled>> {
        let mut buffer = blank(0, self.memory());
        match self.request(VIDIOC_DQBUF, &mut buffer) {
            Ok(()) => Ok(Some(Filled {
                index: buffer.index,
                sequence: buffer.sequence,
                flags: buffer.flags,
                bytes_used: buffer.bytesused as usize,
                seconds: buffer.timestamp.tv_sec,
                micros: buffer.timestamp.tv_usec,
            })),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The image in a mapped buffer that has been taken and not yet handed back.
    pub(super) fn image(&self, filled: &Filled) -> &[u8] {
        let Some(map) = self.maps.get(filled.index as usize) else { return &[] };
        // SAFETY: the mapping is `bytes` long and lives as long as `self`; the driver does not write a buffer between
        // DQBUF and QBUF, and `queue` takes `&mut self`, so no slice outlives the hand-back.
        let whole = unsafe { std::slice::from_raw_parts(map.at.cast::<u8>(), map.bytes) };
        &whole[..filled.bytes_used.min(map.bytes)]
    }

    fn switch(&self, request: v4l2::vidioc::_IOC_TYPE) -> io::Result<()> {
        let mut kind = CAPTURE;
        self.request(request, &mut kind)
    }

    fn request_count(&self, count: u32, memory: v4l2_memory) -> io::Result<u32> {
        // SAFETY: a plain C struct of integers, for which zero is a value.
        let blank: v4l2_requestbuffers = unsafe { zeroed() };
        let mut asked = v4l2_requestbuffers { count, type_: CAPTURE, memory, ..blank };
        self.request(VIDIOC_REQBUFS, &mut asked)?;
        Ok(asked.count)
    }

    fn request<T>(&self, request: v4l2::vidioc::_IOC_TYPE, argument: &mut T) -> io::Result<()> {
        // SAFETY: every caller pairs the request with the struct that the kernel defines for it, alive for the call.
        unsafe { v4l2::ioctl(self.handle.fd(), request, std::ptr::from_mut(argument).cast()) }
    }
}

impl Drop for Buffers {
    fn drop(&mut self) {
        // A device that has gone cannot be told, and what it will still do with lent memory nobody can say.
        let stopped = !self.streaming || self.switch(VIDIOC_STREAMOFF).is_ok();
        self.maps.clear();
        // As above; closing the device frees them too.
        let freed = self.request_count(0, self.memory()).is_ok();
        for lent in self.lent.iter_mut().filter(|_| stopped || freed) {
            drop(lent.take_back());
        }
    }
}

fn blank(index: u32, memory: v4l2_memory) -> v4l2_buffer {
    // SAFETY: a plain C struct of integers and a union of integers and pointers, for which zero is a value.
    let blank: v4l2_buffer = unsafe { zeroed() };
    v4l2_buffer { index, type_: CAPTURE, memory, ..blank }
}
