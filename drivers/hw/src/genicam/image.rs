//! The bytes of a buffer: the one place where Aravis' pointer becomes a slice.

#![expect(unsafe_code, reason = "Aravis gives a buffer's memory as a pointer and a length")]

use aravis::Buffer;

/// What the camera put into a buffer that has been taken from its stream.
pub(super) fn bytes(buffer: &Buffer) -> &[u8] {
    let (at, length) = buffer.data();
    if at.is_null() {
        return &[];
    }
    // SAFETY: the memory belongs to the buffer, is `length` bytes long, and is written by the stream only while the stream
    // holds the buffer; the slice borrows the buffer, which cannot go back to the stream before.
    unsafe { std::slice::from_raw_parts(at, length) }
}
