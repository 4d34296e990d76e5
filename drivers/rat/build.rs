//! Lets tests of this crate find the MuJoCo library where the set-up put it.

fn main() {
    println!("cargo::rerun-if-env-changed=MUJOCO_DYNAMIC_LINK_DIR");
    if let Ok(folder) = std::env::var("MUJOCO_DYNAMIC_LINK_DIR") {
        println!("cargo::rustc-link-arg=-Wl,-rpath,{folder}");
    }
    println!("cargo::rustc-link-arg=-Wl,-rpath,$ORIGIN/../lib/mimicd");
}
