//! Says to the sources that they are compiled here.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rustc-cfg=manual_wall_clock");
    println!("cargo::rustc-cfg=races");
}
