//! Authenticates with a certificate instead of a secret (mutual TLS, RFC 8705). The tokens are
//! bound to that certificate.
//!
//! The API and the token endpoint see the same certificate, because the HTTP clients for both use
//! one TLS configuration. A stolen token is useless without the certificate's private key.

mod bound;
mod mutual_tls;
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

use crate::bound::{BoundApi, BoundIssuer, CLIENT_NAME, Introspection};
use crate::mutual_tls::{client_config, serve};
use crate::support::api::Api;
use crate::support::issuer::{CLIENT_ID, Issuer};
use crate::support::report::{self, Report, Wire};
use crate::support::tls::{Ca, Identity};

type Http = legacy::Client<HttpsConnector<HttpConnector>, Full<Bytes>>;

struct Client {
    api: OAuth2<Http>,
    /// The HTTP client of the API, without the layer.
    http: Http,
    tokens: Tokens,
}

/// Creates a client. `tls` presents the certificate that `credentials` were created with.
fn client(tls: &ClientConfig, credentials: Credentials, api: &str) -> Result<Client, BoxError> {
    // The HTTP clients share no connections, but both present the same certificate.
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

/// Creates the credentials. They need the certificate itself, because it cannot be read from a TLS
/// configuration.
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

    report.begin("Two requests from a client with a certificate and no secret");
    for _ in 0..2 {
        let response = ours.api.clone().oneshot(put()?).await?;
        report.expect("the caller gets 200", response.status() == StatusCode::OK);
    }
    let wire = Wire { api: 2, rejected: 0, token_endpoint: 1 };
    report.end(wire, "C1, C2: one token request, and the token is bound to the certificate");

    report.begin("A request with a token that was revoked");
    issuer.revoke_all();
    let response = ours.api.clone().oneshot(put()?).await?;
    report.expect("the caller gets 200", response.status() == StatusCode::OK);
    report.expect("the request was replayed", response.extensions().get() == Some(&Replayed::Yes));
    let wire = Wire { api: 2, rejected: 1, token_endpoint: 1 };
    report.end(wire, "R1: one replay, with a token bound to the same certificate");

    report.begin("The same client with another certificate");
    let next_identity = ca.certify(CLIENT_NAME)?;
    let next_tls = client_config(&ca, Some(&next_identity))?;
    let next = credentials(&token_endpoint, &next_identity)?;
    report.expect("the credentials differ", next != credentials(&token_endpoint, &identity)?);
    let next = client(&next_tls, next, &api)?;
    let response = next.api.clone().oneshot(put()?).await?;
    report.expect("the caller gets 200", response.status() == StatusCode::OK);
    let wire = Wire { api: 1, rejected: 0, token_endpoint: 1 };
    report.end(wire, "two certificates never share a token");

    report.begin("A token sent with a certificate it is not bound to");
    let mut request = put()?;
    let stolen = ours.tokens.get().await?;
    request.headers_mut().insert(AUTHORIZATION, format!("Bearer {}", stolen.secret()).parse()?);
    let response = next.http.oneshot(request).await?;
    report.expect("the caller gets 401", response.status() == StatusCode::UNAUTHORIZED);
    let wire = Wire { api: 1, rejected: 1, token_endpoint: 0 };
    report.end(wire, "RFC 8705 section 3: a token is valid only with its own certificate");

    for (step, presented, kind) in [
        ("A client without a certificate", None, TokenErrorKind::Transport),
        (
            "A client with another client's certificate",
            Some(ca.certify("other-id.clients.test")?),
            TokenErrorKind::ErrorResponse,
        ),
    ] {
        report.begin(step);
        let tls = client_config(&ca, presented.as_ref())?;
        let stranger = client(&tls, credentials(&token_endpoint, &identity)?, &api)?;
        let error = stranger.api.oneshot(put()?).await.err();
        let error = error.as_ref().and_then(|error| TokenError::find_in(&**error));
        report.expect("the error has the expected kind", error.map(TokenError::kind) == Some(kind));
        let token_endpoint = usize::from(presented.is_some());
        let wire = Wire { api: 0, rejected: 0, token_endpoint };
        report.end(wire, "R2: without a token, nothing is sent to the API");
    }
    Ok(report)
}
