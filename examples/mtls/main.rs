//! Mutual TLS (RFC 8705): the client's certificate takes the place of a secret, and tokens are bound to it.
//!
//! API and token endpoint see the same certificate, as their HTTP clients are made of one TLS
//! configuration. A token is worth nothing to anybody who does not have the key to it.

mod authority;
mod bound;
#[path = "../support/mod.rs"]
mod support;

use std::process::ExitCode;

use bytes::Bytes;
use http::header::AUTHORIZATION;
use http::{Request, StatusCode};
use http_body_util::Full;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use rustls::ClientConfig;
use tower::{BoxError, ServiceBuilder, ServiceExt, service_fn};
use tower_oauth2::replay::Replayed;
use tower_oauth2::{
    ClientAuth, Credentials, OAuth2, OAuth2Layer, Origins, TokenEndpoint, TokenError,
    TokenErrorKind, Tokens,
};

use crate::authority::{client_config, serve};
use crate::bound::{BoundApi, BoundIssuer, CLIENT_NAME, Introspection};
use crate::support::api::Api;
use crate::support::issuer::{CLIENT_ID, Issuer};
use crate::support::report::{self, Report, Wire};
use crate::support::tls::{Ca, Identity};

type Http = legacy::Client<HttpsConnector<HttpConnector>, Full<Bytes>>;

struct Client {
    api: OAuth2<Http>,
    /// The same without a layer.
    http: Http,
    tokens: Tokens,
}

/// `tls` shows the certificate that `credentials` were made with.
fn client(tls: &ClientConfig, credentials: Credentials, api: &str) -> Result<Client, BoxError> {
    // Each with connections of its own. That they show the same certificate is what counts.
    let (to_token_endpoint, to_api) = (http(tls), http(tls));
    let tokens = Tokens::new(credentials, TokenEndpoint::new(to_token_endpoint));
    let layer = OAuth2Layer::new(tokens.clone(), Origins::only([api])?);
    let api = ServiceBuilder::new().layer(layer).service(to_api.clone());
    Ok(Client { api, http: to_api, tokens })
}

fn http(tls: &ClientConfig) -> Http {
    let connector = HttpsConnectorBuilder::new()
        .with_tls_config(tls.clone())
        .https_only()
        .enable_http1()
        .build();
    legacy::Client::builder(TokioExecutor::new()).build(connector)
}

/// Which certificate the TLS configuration shows can not be seen in it, so credentials are told.
fn credentials(endpoint: &str, identity: &Identity) -> Result<Credentials, BoxError> {
    let auth = ClientAuth::tls_client_auth(CLIENT_ID, &identity.certificate);
    Ok(Credentials::new(endpoint, auth)?)
}

#[tokio::main]
async fn main() -> ExitCode {
    report::conclude(run().await)
}

async fn run() -> Result<Report, BoxError> {
    let ca = Ca::new()?;
    let (issuer, introspection) = (Issuer::new(), Introspection::default());
    let token_endpoint = {
        let (issuer, introspection) = (issuer.clone(), introspection.clone());
        let served = serve(&ca, move |certificate| {
            let (issuer, introspection) = (issuer.clone(), introspection.clone());
            let issuer = BoundIssuer { issuer, introspection, certificate };
            service_fn(move |request| issuer.clone().issue(request))
        });
        format!("{}/token", served.await?)
    };
    let api = {
        let api = Api::new(&issuer);
        let served = serve(&ca, move |certificate| {
            let (api, introspection) = (api.clone(), introspection.clone());
            let api = BoundApi { api, introspection, certificate };
            service_fn(move |request| api.clone().answer(request))
        });
        served.await?
    };
    println!("token endpoint {token_endpoint}, API {api}");

    let mut report = Report::new(&issuer);
    let identity = ca.certify(CLIENT_NAME)?;
    let ours = credentials(&token_endpoint, &identity)?;
    let tls = client_config(&ca, Some(&identity))?;
    let ours = client(&tls, ours, &api)?;
    let put = || Request::put(format!("{api}/people/1")).body(Full::from("Alf"));

    report.begin("two requests of a client with a certificate, and no secret anywhere");
    for _ in 0..2 {
        let response = ours.api.clone().oneshot(put()?).await?;
        report.expect("it is answered with 200", response.status() == StatusCode::OK);
    }
    let wire = Wire { api: 2, rejected: 0, token_endpoint: 1 };
    report.end(wire, "C1, C2: one token request, and the token is bound to the certificate");

    report.begin("a request with a token that was revoked");
    issuer.revoke_all();
    let response = ours.api.clone().oneshot(put()?).await?;
    report.expect("it is answered with 200", response.status() == StatusCode::OK);
    report.expect("it was replayed", response.extensions().get() == Some(&Replayed::Yes));
    let wire = Wire { api: 2, rejected: 1, token_endpoint: 1 };
    report.end(wire, "R1: the next token is bound to the same certificate");

    report.begin("the same client with another certificate");
    let next_identity = ca.certify(CLIENT_NAME)?;
    let next_tls = client_config(&ca, Some(&next_identity))?;
    let next = credentials(&token_endpoint, &next_identity)?;
    report.expect("these are other credentials", next != credentials(&token_endpoint, &identity)?);
    let next = client(&next_tls, next, &api)?;
    let response = next.api.clone().oneshot(put()?).await?;
    report.expect("it is answered with 200", response.status() == StatusCode::OK);
    let wire = Wire { api: 1, rejected: 0, token_endpoint: 1 };
    report.end(wire, "two certificates never share a token");

    report.begin("the token of the one with the certificate of the other");
    let mut request = put()?;
    let stolen = ours.tokens.get().await?;
    request.headers_mut().insert(AUTHORIZATION, format!("Bearer {}", stolen.secret()).parse()?);
    let response = next.http.oneshot(request).await?;
    report.expect("it is answered with 401", response.status() == StatusCode::UNAUTHORIZED);
    let wire = Wire { api: 1, rejected: 1, token_endpoint: 0 };
    report.end(wire, "RFC 8705 section 3: a token is good with its own certificate only");

    for (step, shown, kind) in [
        ("a client without a certificate", None, TokenErrorKind::Transport),
        (
            "a client with the certificate of somebody else",
            Some(ca.certify("somebody-else.clients.test")?),
            TokenErrorKind::ErrorResponse,
        ),
    ] {
        report.begin(step);
        let tls = client_config(&ca, shown.as_ref())?;
        let stranger = client(&tls, credentials(&token_endpoint, &identity)?, &api)?;
        let error = stranger.api.oneshot(put()?).await.err();
        let error = error.as_ref().and_then(|error| TokenError::find_in(&**error));
        report.expect("it is told so", error.map(TokenError::kind) == Some(kind));
        let token_endpoint = usize::from(shown.is_some());
        let wire = Wire { api: 0, rejected: 0, token_endpoint };
        report.end(wire, "R2: without a token, nothing is sent to the API");
    }
    Ok(report)
}
