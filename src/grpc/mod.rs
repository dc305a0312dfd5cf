//! A tonic channel with tokens, for generated gRPC clients.
//!
//! [The guide](crate::guide::grpc) has an example, and explains the statuses.

mod channel;
mod future;
mod into_tonic;
mod status;

pub use self::channel::AuthorizedChannel;
pub use self::future::ChannelFuture;
