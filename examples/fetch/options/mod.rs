//! The command line: a group of options a file, each of which knows its own.

mod body;
mod connection;
#[cfg_attr(not(feature = "jwt"), path = "no_jwt.rs")]
mod jwt;
mod load;
mod request;
mod token;
mod value;

use std::fmt;
use std::path::PathBuf;

use lexopt::Arg;
use tower_oauth2::Origins;

pub(crate) use self::body::{Payload, Source};
pub(crate) use self::connection::Connection;
pub(crate) use self::load::Load;
pub(crate) use self::request::Template;
use self::token::Token;
pub(crate) use self::token::Wanted;
use self::value::Value;
use crate::store::{Keys, Store};

pub(crate) enum Command {
    Help,
    Fetch(Box<Options>),
}

pub(crate) struct Options {
    pub(crate) wanted: Wanted,
    /// Who is sent a token.
    pub(crate) origins: Origins,
    pub(crate) request: Template,
    pub(crate) payload: Payload,
    pub(crate) load: Load,
    pub(crate) connection: Connection,
    /// Where tokens are shared with others, if they are.
    pub(crate) store: Option<Store>,
    pub(crate) seal_keys: Option<Keys>,
}

impl Options {
    pub(crate) fn uses_tls(&self) -> bool {
        self.request.uri().scheme_str() == Some("https") || self.wanted.uses_tls()
    }
}

/// Arguments that can not be followed. Its text quotes no values: any of them may be a secret.
#[derive(Debug)]
pub(crate) struct Mistake(String);

impl Mistake {
    fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[derive(Default)]
struct Groups {
    token: token::Group,
    request: request::Group,
    body: body::Group,
    load: load::Group,
    connection: connection::Group,
    /// To a certificate, or to sign with.
    key: Option<PathBuf>,
}

impl Groups {
    fn take(&mut self, option: &str, value: &mut Value<'_>) -> Result<(), Mistake> {
        if option == "key" {
            self.key = Some(value.file()?);
            return Ok(());
        }
        let is_known = self.token.take(option, value)?
            || self.request.take(option, value)?
            || self.body.take(option, value)?
            || self.load.take(option, value)?
            || self.connection.take(option, value)?;
        if is_known { Ok(()) } else { Err(unknown(&format!("--{option}"))) }
    }

    fn finish(self) -> Result<Options, Mistake> {
        let signs = self.token.signs_with_a_key();
        let connection = self.connection.finish(self.key.as_deref())?;
        if self.key.is_some() && connection.identity.is_none() && !signs {
            return Err(Mistake::new("--key: needs --cert, or --auth private_key_jwt"));
        }
        let certificate = connection.identity.as_ref().map(|identity| &*identity.chain[0]);
        let Token { wanted, origins, store, seal_keys } =
            self.token.finish(certificate, self.key)?;
        let request = self.request.finish(self.body.has_data())?;
        let origins = match origins {
            Some(origins) => origins,
            None => Origins::of(request.uri()).map_err(|error| Mistake(error.to_string()))?,
        };
        let load = self.load.finish();
        let payload = self.body.finish(load.repeat)?;
        Ok(Options { wanted, origins, request, payload, load, connection, store, seal_keys })
    }
}

pub(crate) fn parse(mut parser: lexopt::Parser) -> Result<Command, Mistake> {
    let mut groups = Groups::default();
    loop {
        let option = match parser.next() {
            Ok(None) => break,
            Ok(Some(Arg::Long("help") | Arg::Short('h'))) => return Ok(Command::Help),
            Ok(Some(Arg::Long(option))) => option.to_owned(),
            Ok(Some(Arg::Short(option))) => return Err(unknown(&format!("-{option}"))),
            Ok(Some(Arg::Value(url))) => {
                groups.request.take_url(url)?;
                continue;
            }
            Err(_) => return Err(Mistake::new("an option has a value that takes none")),
        };
        groups.take(&option, &mut Value::new(&option, &mut parser))?;
    }
    groups.finish().map(|options| Command::Fetch(Box::new(options)))
}

fn unknown(option: &str) -> Mistake {
    Mistake(format!("unknown option {}", option.escape_debug()))
}

pub(crate) fn help() -> String {
    let groups = [token::HELP, request::HELP, body::HELP, load::HELP, connection::HELP];
    format!(
        "Usage: fetch --token-endpoint URL --client-id ID [OPTION]... URL\n\
        \x20      fetch --issuer URL --client-id ID [OPTION]... URL\n\n\
         Sends a request to URL with an access token. The body of the response to the\n\
         last request goes to stdout, and a summary of all requests to stderr. At most 64 MiB of a\n\
         response or a file are read.\n\n{}\n\
         Exit status: 0 when every request was answered, whatever the status; 1 when there were\n\
         errors; 2 when the arguments are not right.\n",
        groups.join("\n"),
    )
}
