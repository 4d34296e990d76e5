//! Lets the daemon, its tests and its benches find the MuJoCo library where the set-up or the package put it.

fn main() {
    println!("cargo::rerun-if-env-changed=MUJOCO_DYNAMIC_LINK_DIR");
    println!("cargo::rerun-if-env-changed=MIMICD_PACKAGE");
    // A package carries its library with it and names no folder of the machine it was built on.
    if let (Ok(folder), Err(_)) = (std::env::var("MUJOCO_DYNAMIC_LINK_DIR"), std::env::var("MIMICD_PACKAGE")) {
        println!("cargo::rustc-link-arg=-Wl,-rpath,{folder}");
    }
    println!("cargo::rustc-link-arg=-Wl,-rpath,$ORIGIN/../lib/mimicd");
}
