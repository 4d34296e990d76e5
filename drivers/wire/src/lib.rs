//! Messages between the sync board and the host; `no_std`, no allocation, shared by host and firmware.
#![no_std]
