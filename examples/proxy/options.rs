//! What the command line asks for.

use std::num::NonZeroU32;

use lexopt::prelude::*;

pub(crate) enum Options {
    /// `[--uploads N] [--mib N]`
    Demo(Size),
    /// What the demo starts itself with, for the proxies: `with-token UPSTREAM TOKEN_ENDPOINT` or
    /// `pass-through UPSTREAM`.
    Serve(Role),
}

/// Of the uploads whose memory is looked at.
#[derive(Clone, Copy)]
pub(crate) struct Size {
    pub(crate) uploads: u32,
    pub(crate) mib: u64,
}

#[derive(Clone)]
pub(crate) enum Role {
    WithToken { upstream: String, token_endpoint: String },
    PassThrough { upstream: String },
}

impl Role {
    pub(crate) fn to_arguments(&self) -> Vec<&str> {
        match self {
            Self::WithToken { upstream, token_endpoint } => {
                vec!["with-token", upstream, token_endpoint]
            }
            Self::PassThrough { upstream } => vec!["pass-through", upstream],
        }
    }
}

impl Options {
    pub(crate) fn parse() -> Result<Self, lexopt::Error> {
        let mut parser = lexopt::Parser::from_env();
        let mut size = Size { uploads: 8, mib: 8 };
        while let Some(argument) = parser.next()? {
            match argument {
                Long("uploads") => size.uploads = parser.value()?.parse::<NonZeroU32>()?.get(),
                Long("mib") => size.mib = parser.value()?.parse_with(mib)?,
                Value(role) if role == "with-token" => {
                    let (upstream, token_endpoint) =
                        (parser.value()?.string()?, parser.value()?.string()?);
                    return Ok(Self::Serve(Role::WithToken { upstream, token_endpoint }));
                }
                Value(role) if role == "pass-through" => {
                    return Ok(Self::Serve(Role::PassThrough {
                        upstream: parser.value()?.string()?,
                    }));
                }
                _ => return Err(argument.unexpected()),
            }
        }
        Ok(Self::Demo(size))
    }
}

/// Less fits into the buffers of connections, and tells nothing.
fn mib(text: &str) -> Result<u64, &'static str> {
    text.parse().ok().filter(|mib| *mib >= 8).ok_or("it is to be 8 or more")
}
