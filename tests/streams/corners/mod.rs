//! One at a time, what the properties can not see: who is woken, what is in memory, what is asked
//! when.

mod kept;
mod memory;
mod panics;
mod reentrant;
mod takeover;
mod tokens;
