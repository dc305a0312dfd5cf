//! Sets the cfg by which the sources know that this package compiles them.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rustc-cfg=manual_wall_clock");
    println!("cargo::rustc-cfg=races");
}
