//! Puts the board's memory layout where the linker looks for it.

use std::path::PathBuf;
use std::{env, fs};

fn main() {
    let layouts = [
        ("CARGO_FEATURE_MPS2", "memory/mps2.x"),
        ("CARGO_FEATURE_RP2040", "memory/rp2040.x"),
        ("CARGO_FEATURE_RP2350", "memory/rp2350.x"),
    ];
    let chosen: Vec<_> = layouts.iter().filter(|(feature, _)| env::var_os(feature).is_some()).collect();
    let [(_, layout)] = chosen.as_slice() else {
        panic!("choose one board: --features rp2040, rp2350 or mps2 (`cargo xtask firmware` does)");
    };
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets it"));
    fs::copy(layout, out.join("memory.x")).expect("the layout can be copied");
    println!("cargo:rustc-link-search={}", out.display());
    println!("cargo:rustc-link-arg-bins=--nmagic");
    println!("cargo:rustc-link-arg-bins=-Tlink.x");
    for (_, layout) in layouts {
        println!("cargo:rerun-if-changed={layout}");
    }
}
