//! Makes the sources read the wall clock that tests move.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rustc-cfg=manual_wall_clock");
}
