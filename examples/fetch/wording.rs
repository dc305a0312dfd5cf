//! Names the options of this program in error texts instead of the library's API.

/// Parts of the library's texts, and what a user of this program can act on. An entry comes before
/// those that are parts of it.
const WORDINGS: [(&str, &str); 24] = [
    ("; the server's reason is in error_description()", ""),
    ("check the scheme, or dangerously_allow_http", "check the scheme, or use --allow-http"),
    (
        "if the server requires another one, set `audience`, for example to the issuer",
        "--assertion-audience sets another audience, such as the issuer",
    ),
    ("set Audience::TokenEndpoint", "use --assertion-audience token-endpoint"),
    ("use Credentials::from_issuer or Metadata", "use --issuer"),
    ("neither Bearer nor a TokenEndpoint::token_type_alias", "neither Bearer nor a --token-type"),
    ("client id, secret and authentication method", "--client-id, the secret and --auth"),
    ("check the client id, and the assertion", "check --client-id, and the assertion"),
    ("its audience, key id and algorithm", "--assertion-audience, --kid and --alg"),
    ("the credentials have no DPoP key", "--dpop is not set"),
    ("the credentials have a DPoP key", "--dpop is set"),
    ("the scopes that this client may request", "--scope, and the scopes of this client"),
    ("check audience and resource", "check --audience and --resource"),
    ("check authorization_details", "check --param authorization_details"),
    (
        "the parameters that this server requires",
        "the parameters that this server requires (--param)",
    ),
    ("check the issuer's URL and body()", "check --issuer and --well-known"),
    ("check the issuer's URL", "check --issuer and --well-known"),
    ("check the URL, and Location in headers()", "check --token-endpoint or --issuer"),
    ("check the URL and body()", "check --token-endpoint, and the response with --explain"),
    ("check the URL", "check --token-endpoint"),
    ("check body()", "check the response with --explain"),
    (", and source()", ""),
    ("; check source()", ""),
    ("check allowed_endpoints", "check --token-endpoint"),
];

pub(crate) fn of_this_program(text: &str) -> String {
    WORDINGS.iter().fold(text.to_owned(), |text, (api, option)| text.replace(api, option))
}
