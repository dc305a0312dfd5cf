//! Other ways to a token: what else a token request may bring than the client's own name.

#[cfg(feature = "jwt")]
mod jwt_bearer;
pub(crate) mod refresh;
mod token_exchange;

#[cfg(feature = "jwt")]
pub use self::jwt_bearer::JwtBearer;
pub use self::token_exchange::TokenExchange;
pub use crate::refresh_token::{RefreshToken, RotatedToken};
