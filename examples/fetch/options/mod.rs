//! Parses the command line. Each file has a group of options and their help.

mod body;
mod client;
mod connection;
mod endpoint;
#[cfg(feature = "jwt")]
mod jwt;
mod load;
#[cfg(not(feature = "jwt"))]
mod no_jwt;
mod request;
mod store;
mod token;
mod value;

use std::fmt;
use std::path::PathBuf;

use lexopt::Arg;
use tower_oauth2::Origins;

pub(crate) use self::body::{Payload, Source};
pub(crate) use self::connection::Connection;
pub(crate) use self::endpoint::Dialect;
#[cfg(feature = "jwt")]
use self::jwt::{Binding, JwtGroup};
pub(crate) use self::load::Load;
#[cfg(not(feature = "jwt"))]
use self::no_jwt::{Binding, JwtGroup};
pub(crate) use self::request::{Template, TokenHeader};
pub(crate) use self::store::StoreOptions;
pub(crate) use self::token::Wanted;
use self::value::Value;

const EXPLAIN_HELP: &str = "\
Explain:
  --explain                  request a token, and print the token request and the response on
                             stdout, with secrets and signatures masked and JWTs decoded, so that
                             the output can be shared; uses no store, and sends nothing to the API
";

pub(crate) enum Command {
    Help,
    Fetch(Box<Options>),
    /// Requests a token, and prints the request and the response.
    Explain(Box<TokenOptions>),
}

pub(crate) struct Options {
    pub(crate) token: TokenOptions,
    /// The origins that receive a token.
    pub(crate) origins: Origins,
    pub(crate) token_header: TokenHeader,
    pub(crate) request: Template,
    pub(crate) payload: Payload,
    pub(crate) load: Load,
    /// The store that other processes share.
    pub(crate) store: Option<StoreOptions>,
}

/// The options that a token request depends on.
pub(crate) struct TokenOptions {
    pub(crate) wanted: Wanted,
    pub(crate) dialect: Dialect,
    pub(crate) connection: Connection,
}

impl Options {
    pub(crate) fn api_uses_tls(&self) -> bool {
        self.request.uri().scheme_str() == Some("https")
    }
}

/// An error in the arguments. Its text quotes no values, because any of them may be a secret.
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
    client: client::Group,
    endpoint: endpoint::Group,
    store: store::Group,
    request: request::Group,
    body: body::Group,
    load: load::Group,
    connection: connection::Group,
    /// The private key of a certificate, or of assertions.
    key: Option<PathBuf>,
    explain: bool,
}

impl Groups {
    fn take(&mut self, option: &str, value: &mut Value<'_>) -> Result<(), Mistake> {
        match option {
            "key" => self.key = Some(value.file()?),
            "explain" => self.explain = true,
            _ => {
                let is_known = self.token.take(option, value)?
                    || self.client.take(option, value)?
                    || self.endpoint.take(option, value)?
                    || self.store.take(option, value)?
                    || self.request.take(option, value)?
                    || self.body.take(option, value)?
                    || self.load.take(option, value)?
                    || self.connection.take(option, value)?;
                if !is_known {
                    return Err(unknown(&format!("--{option}")));
                }
            }
        }
        Ok(())
    }

    fn finish(self) -> Result<Command, Mistake> {
        let signs = self.client.signs_with_a_key();
        let connection = self.connection.finish(self.key.as_deref())?;
        if self.key.is_some() && connection.identity.is_none() && !signs {
            return Err(Mistake::new("--key: needs --cert, or --auth private_key_jwt"));
        }
        let certificate = connection.identity.as_ref().map(|identity| &*identity.chain[0]);
        if self.client.needs_issuer() && !self.token.has_issuer() {
            return Err(Mistake::new("--assertion-audience issuer: needs --issuer"));
        }
        let is_bound = self.token.is_bound();
        let auth = self.client.finish(certificate, self.key)?;
        let dialect = self.endpoint.finish();
        let (wanted, origins) = self.token.finish(auth, dialect.allow_http)?;
        let store = self.store.finish()?;
        let token = TokenOptions { wanted, dialect, connection };
        if self.explain {
            return Ok(Command::Explain(Box::new(token)));
        }
        let (request, token_header) = self.request.finish(self.body.has_data(), is_bound)?;
        let origins = match origins {
            Some(origins) => origins,
            None => Origins::of(request.uri()).map_err(|error| Mistake(error.to_string()))?,
        };
        let load = self.load.finish();
        let payload = self.body.finish(load.repeat)?;
        let options = Options { token, origins, token_header, request, payload, load, store };
        Ok(Command::Fetch(Box::new(options)))
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
    groups.finish()
}

fn unknown(option: &str) -> Mistake {
    Mistake(format!("unknown option {}", option.escape_debug()))
}

pub(crate) fn help() -> String {
    let groups = [
        EXPLAIN_HELP,
        token::HELP,
        client::HELP,
        endpoint::HELP,
        store::HELP,
        request::HELP,
        body::HELP,
        load::HELP,
        connection::HELP,
    ];
    format!(
        "Usage: fetch --token-endpoint URL --client-id ID [OPTION]... URL\n\
        \x20      fetch --issuer URL --client-id ID [OPTION]... URL\n\
        \x20      fetch --explain --token-endpoint URL --client-id ID [OPTION]...\n\n\
         Sends a request with an access token to URL. Prints the body of the response to the\n\
         last request on stdout, and a summary of all requests on stderr. Reads at most 64 MiB\n\
         of a response or a file.\n\n\
         {}\n\
         Exit status: 0 if every request was answered, whatever the status; 1 if there were\n\
         errors; 2 if the arguments are invalid.\n",
        groups.join("\n"),
    )
}
