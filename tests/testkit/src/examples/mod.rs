//! Examples as processes, and a server for them.

pub mod process;
pub mod server;
