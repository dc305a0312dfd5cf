//! Sends one token request: up to three HTTP requests if a clock is off or a nonce is required.

use std::time::Duration;

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::response::Parts;
use http::{HeaderValue, Method, Request, StatusCode};
use tokio::time::{Instant, timeout_at};
use tower::ServiceExt;

use super::assertion_audience::AssertionAudiences;
use super::{decode, not_available};
use crate::client_auth::{ClientAuthentication, TokenRequestParts};
use crate::credentials::EndpointUri;
use crate::credentials::request::TokenRequest;
use crate::error::{TokenError, TokenErrorKind};
use crate::protocol::body;
use crate::protocol::challenge;
use crate::protocol::dpop::{DPOP, ProofVerdict, SentProof};
use crate::protocol::headers;
use crate::protocol::http_client::BoxedClient;
use crate::protocol::request_secrets::RequestSecrets;
use crate::protocol::server_clock::{Offset, SkewEstimate};
use crate::secret::wait_until_deadline;
use crate::token::AccessToken;
use crate::util::clock::{Now, wall_clock};

/// Requests a token within `limit`.
///
/// A clock offset is remembered only if it led to a token (W8).
pub(super) async fn request_token(
    http: BoxedClient,
    request: &TokenRequest,
    endpoint: &EndpointUri,
    limit: Duration,
) -> Result<AccessToken, TokenError> {
    let credentials = request.credentials();
    let (clocks, origin) = (credentials.server_clocks(), endpoint.origin());
    let deadline = Instant::now() + limit;
    let mut clock = clocks.get(origin);
    let (mut is_assertion_resent, mut is_proof_resent) = (false, false);
    loop {
        let response = send(http.clone(), &Target { request, endpoint }, clock, deadline).await?;
        let has_time = Instant::now() < deadline;
        // Each kind of resend happens once at most, so that a server cannot cause a loop.
        let label = credentials.label_field();
        let resend_clock = match response.resend() {
            Some(Resend::WithNewAssertion(better)) if has_time && !is_assertion_resent => {
                let ahead = better.as_secs();
                tracing::info!(
                    label,
                    ahead,
                    "assertion was refused and the clock differs; another one is sent"
                );
                is_assertion_resent = true;
                Some(better)
            }
            Some(Resend::WithNewProof(better)) if has_time && !is_proof_resent => {
                tracing::debug!(label, "DPoP proof was refused; another one is sent");
                is_proof_resent = true;
                Some(better)
            }
            _ => None,
        };
        if let Some(better) = resend_clock {
            if better != clock {
                clocks.refuse(origin, clock, response.skew);
            }
            clock = better;
            continue;
        }
        let TokenResponse { head, body, requested_at, skew, audiences, .. } = response;
        let result = decode::decode(head, &body, credentials.dpop_key().is_some());
        let result = result.map_err(|error| match audiences {
            Some(audiences) => audiences.explain(error),
            None => error,
        });
        match &result {
            Ok(_) => clocks.accept(origin, clock),
            Err(_) => clocks.refuse(origin, clock, skew),
        }
        return result.map(|token| token.with_requested_at_both(requested_at));
    }
}

/// The response to one HTTP request, and the facts about the request that a resend depends on.
struct TokenResponse {
    head: Parts,
    body: Bytes,
    requested_at: Now,
    clock: Offset,
    /// `None` unless the request contained times that were signed here by the clock.
    audiences: Option<AssertionAudiences>,
    skew: Option<SkewEstimate>,
    proof: ProofVerdict,
}

/// Says how a refused request may succeed when it is sent again.
enum Resend {
    /// Send an assertion whose times go by this clock.
    WithNewAssertion(Offset),
    /// Send a proof with another nonce, or with a time by this clock.
    WithNewProof(Offset),
}

impl TokenResponse {
    /// Returns how to send the request again, or `None` if that would not help.
    fn resend(&self) -> Option<Resend> {
        let better = self.skew.filter(|skew| skew.contradicts(self.clock));
        let better = better.map(SkewEstimate::offset);
        if self.proof == ProofVerdict::RetryWithNewProof {
            return Some(Resend::WithNewProof(better.unwrap_or(self.clock)));
        }
        better
            .filter(|_| self.audiences.is_some() && self.may_refuse_time())
            .map(Resend::WithNewAssertion)
    }

    /// Returns whether the server may have refused the times of an assertion.
    ///
    /// RFC 7521 section 4.2.1 names `invalid_client`, and section 4.1.1 names `invalid_grant`. Some
    /// servers call it an `invalid_request`, or send no code.
    fn may_refuse_time(&self) -> bool {
        matches!(self.head.status, StatusCode::BAD_REQUEST | StatusCode::UNAUTHORIZED)
            && matches!(
                decode::error(&self.body).as_deref(),
                None | Some("invalid_client" | "invalid_grant" | "invalid_request")
            )
    }
}

/// Sends one HTTP request, with times by the offset `clock`, and reads its response.
async fn send(
    http: BoxedClient,
    target: &Target<'_>,
    clock: Offset,
    deadline: Instant,
) -> Result<TokenResponse, TokenError> {
    let requested_at = Now::read();
    let sent = async {
        let encoded = encode(target, clock, deadline).await?;
        let secrets = RequestSecrets::of(&encoded.request);
        let sent_at = Instant::now();
        let response = http.oneshot(encoded.request).await.map_err(|error| {
            TokenError::from_transport(error).with_causes(|text| secrets.scrub(text))
        })?;
        let skew = SkewEstimate::from_response(response.headers(), wall_clock(), sent_at.elapsed());
        Ok::<_, TokenError>((response, skew, encoded.audiences, encoded.proof, secrets))
    };
    let (response, skew, audiences, proof, secrets) = match timeout_at(deadline, sent).await {
        Ok(sent) => sent?,
        Err(elapsed) => {
            return Err(TokenError::with_source(TokenErrorKind::Timeout, elapsed.into()));
        }
    };
    let (head, body) = response.into_parts();
    let body = body::read(head.status, body, deadline).await;
    let body = body.map_err(|error| error.with_causes(|text| secrets.scrub(text)))?;
    let proof = proof.map_or(ProofVerdict::Accepted, |sent| {
        let error = decode::error(&body);
        sent.classify(head.status, &head.headers, error.as_deref())
    });
    Ok(TokenResponse { head, body, requested_at, clock, audiences, skew, proof })
}

/// A token request and the endpoint that it goes to.
struct Target<'a> {
    request: &'a TokenRequest,
    endpoint: &'a EndpointUri,
}

/// An HTTP request, and the facts about it that its response is judged by.
struct Encoded {
    request: Request<Bytes>,
    audiences: Option<AssertionAudiences>,
    proof: Option<SentProof>,
}

/// Returns the HTTP request, with times by the offset `clock`.
async fn encode(
    target: &Target<'_>,
    clock: Offset,
    deadline: Instant,
) -> Result<Encoded, TokenError> {
    let &Target { request, endpoint } = target;
    let credentials = request.credentials();
    let mut parts = TokenRequestParts::for_endpoint(endpoint.uri().clone(), endpoint.text());
    parts.set_issuer(endpoint.issuer());
    parts.set_clock(clock);
    parts.set_deadline(deadline);
    credentials.add_parameters(&mut parts).await.map_err(not_available)?;
    if let Some(claims) = request.claims() {
        let claims = match parts.parameter("claims") {
            Some(own) => challenge::merge_claims(own, claims),
            None => claims.to_owned(),
        };
        parts.set_parameter("claims", claims);
    }
    let auth = credentials.client_auth();
    wait_until_deadline(Some(deadline), auth, auth.authenticate(&mut parts))
        .await
        .map_err(not_available)?;
    let audiences = AssertionAudiences::of(&parts, endpoint.text());
    let (headers, body) = parts.encode();

    let mut request = Request::new(Bytes::from(body));
    *request.method_mut() = Method::POST;
    *request.uri_mut() = endpoint.uri().clone();
    *request.headers_mut() = headers;
    let headers = request.headers_mut();
    headers::set_defaults(headers);
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/x-www-form-urlencoded"));
    let proof = credentials
        .dpop_key()
        .map(|key| key.prove_token_request(request.uri(), endpoint.origin(), clock));
    let proof = match proof.transpose() {
        Ok(proof) => proof.map(|(value, sent)| {
            request.headers_mut().insert(DPOP, value);
            sent
        }),
        Err(error) => return Err(TokenError::with_source(TokenErrorKind::Proof, error)),
    };
    Ok(Encoded { request, audiences, proof })
}
