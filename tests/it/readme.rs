//! The code of the README compiles, and its links work in the crate's documentation.

use std::collections::BTreeSet;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use tower_oauth2::{
    BoxError, ClientAuth, Credentials, OAuth2Layer, Origins, Secret, TokenEndpoint, Tokens,
};

const README: &str = include_str!("../../README.md");

/// Sends a request with the code of the README, which stands between two comments.
async fn request(
    http: hyper_util::client::legacy::Client<
        hyper_util::client::legacy::connect::HttpConnector,
        Full<Bytes>,
    >,
) -> Result<Response<hyper::body::Incoming>, BoxError> {
    // begin
    let auth = ClientAuth::client_secret_basic("client-id", Secret::env("CLIENT_SECRET")?);
    let credentials =
        Credentials::new("https://auth.example.com/oauth/token", auth)?.scope("things.read");
    let tokens = Tokens::new(credentials, TokenEndpoint::new(http.clone()));

    let api = OAuth2Layer::new(tokens, Origins::only("https://api.example.com")?).layer(http);
    let request = Request::get("https://api.example.com/things").body(Full::default())?;
    let response = api.send(request).await?;
    // end
    Ok(response)
}

#[test]
fn the_code_of_the_readme_compiles() {
    let _ = request;
    let this_file = include_str!("readme.rs");
    let (_, rest) = this_file.split_once("    // begin\n").unwrap();
    let (compiled, _) = rest.split_once("    // end\n").unwrap();

    let (_, rest) = README.split_once("```rust\n").unwrap();
    let (shown, _) = rest.split_once("```\n").unwrap();
    let compiled: Vec<_> =
        compiled.lines().map(|line| line.strip_prefix("    ").unwrap_or(line)).collect();
    assert_eq!(shown.lines().collect::<Vec<_>>(), compiled);
    assert_eq!(README.matches("```rust").count(), 1, "other code in the README is not compiled");
}

#[test]
fn the_crate_page_redefines_each_link_to_the_guide() {
    let pages = |text: &str, prefix: &str| -> BTreeSet<String> {
        let links = text.lines().filter_map(|line| line.strip_prefix('['));
        links
            .filter_map(|line| line.split_once("]: "))
            .filter(|(_, target)| target.starts_with(prefix))
            .map(|(name, _)| name.to_owned())
            .collect()
    };
    let of_the_readme = pages(README, "https://docs.rs/tower-oauth2/");
    let of_the_crate_page = pages(include_str!("../../src/guide/readme_links.md"), "");
    assert!(of_the_readme.len() > 10, "{of_the_readme:?}");
    assert_eq!(of_the_readme, of_the_crate_page);
}
