//! Command-line options.

use lexopt::prelude::*;

pub(crate) enum Options {
    /// Runs the demo: `[--uploads N] [--mib N]`.
    Demo(Size),
    /// Runs one proxy: `with-token UPSTREAM TOKEN_ENDPOINT` or `pass-through UPSTREAM`. The demo
    /// starts itself with these arguments.
    Serve(Role),
}

/// The number and size of the uploads whose memory is measured.
#[derive(Clone, Copy)]
pub(crate) struct Size {
    pub(crate) uploads: u32,
    pub(crate) mib: u64,
}

/// A proxy with or without the layers.
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
                Long("uploads") => size.uploads = parser.value()?.parse_with(uploads)?,
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

fn uploads(text: &str) -> Result<u32, &'static str> {
    let number = text.parse().ok().filter(|uploads| (1..=10_000).contains(uploads));
    number.ok_or("must be a number from 1 to 10000")
}

/// Parses the size of an upload. Smaller uploads than 8 MiB would fit into the connections'
/// buffers.
fn mib(text: &str) -> Result<u64, &'static str> {
    let number = text.parse().ok().filter(|mib| (8..=1024 * 1024).contains(mib));
    number.ok_or("must be a number from 8 to 1048576")
}
