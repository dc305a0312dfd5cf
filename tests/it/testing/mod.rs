//! The test doubles that users of this crate get.

mod endpoint;
mod recorded;
mod reject_tokens;
mod replies;
mod source;
