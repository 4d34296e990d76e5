//! What the sync board does, as pure logic over board time; `no_std`, no allocation, shared by firmware and twin.
#![no_std]
