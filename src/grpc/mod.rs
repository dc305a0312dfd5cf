//! Adds tokens to the calls of a tonic channel, for generated gRPC clients.
//!
//! [`AuthorizedChannel`] is the channel, and [`ChannelFuture`] is its response future. The
//! [guide](crate::guide::grpc) has an example, and a table of the statuses.

mod channel;
mod future;
mod into_tonic;
mod status;

pub use self::future::ChannelFuture;

// Rustdoc's search finds an alias at a `pub use`, and not at a definition in a private module.
#[doc(alias("bearer", "interceptor", "middleware", "tonic"))]
#[doc(alias("gRPC", "authorization metadata", "UNAUTHENTICATED"))]
pub use self::channel::AuthorizedChannel;
