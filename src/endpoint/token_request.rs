//! Sends one token request, in up to three HTTP requests.
//!
//! The server may require another time or a nonce.

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::response::Parts;
use http::{Method, Request, StatusCode};
use tokio::time::{Instant, timeout_at};
use tower::ServiceExt;

use super::assertion_audience::AssertionAudiences;
use super::decode::{self, ExpectedToken};
use super::dialect::Dialect;
use super::not_available;
use crate::client_auth::{ClientAuthentication, TokenRequestParts};
use crate::credentials::EndpointUri;
use crate::credentials::grant::{grant_kind, is_polled};
use crate::credentials::request::TokenRequest;
use crate::error::{RequestFacts, TokenError, TokenErrorKind};
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

/// Requests a token until `deadline`.
///
/// A clock offset is remembered only if it led to a token (W8).
pub(super) async fn request_token(
    http: BoxedClient,
    target: Target<'_>,
    deadline: Instant,
) -> Result<AccessToken, TokenError> {
    let Target { request, endpoint, dialect } = target;
    let credentials = request.credentials();
    let (clocks, origin) = (credentials.server_clocks(), endpoint.origin());
    let mut clock = clocks.get(origin);
    let (mut is_assertion_resent, mut is_proof_resent) = (false, false);
    loop {
        let response = send(http.clone(), &target, clock, deadline).await?;
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
        let TokenResponse { head, body, requested_at, skew, audiences, facts, .. } = response;
        let must_be_bound = credentials.dpop_key().is_some();
        let result = decode::decode(head, &body, ExpectedToken { must_be_bound, dialect });
        let result = result.map_err(|error| match audiences {
            Some(audiences) => audiences.explain(error),
            None => error,
        });
        match &result {
            Ok(_) => clocks.accept(origin, clock),
            Err(_) => clocks.refuse(origin, clock, skew),
        }
        return result
            .map(|token| token.with_requested_at_both(requested_at))
            .map_err(|error| error.with_request_facts(facts));
    }
}

/// Holds the response to one HTTP request, with facts about the request.
///
/// A resend depends on these facts.
struct TokenResponse {
    head: Parts,
    body: Bytes,
    requested_at: Now,
    clock: Offset,
    /// `None` unless the request contained times that were signed here by the clock.
    audiences: Option<AssertionAudiences>,
    skew: Option<SkewEstimate>,
    proof: ProofVerdict,
    facts: RequestFacts,
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
        let Encoded { audiences, proof, facts, .. } = encoded;
        Ok::<_, TokenError>((response, skew, secrets, (audiences, proof, facts)))
    };
    let (response, skew, secrets, sent) = match timeout_at(deadline, sent).await {
        Ok(sent) => sent?,
        Err(elapsed) => {
            return Err(TokenError::with_source(TokenErrorKind::Timeout, elapsed.into()));
        }
    };
    let (audiences, proof, facts) = sent;
    let (head, body) = response.into_parts();
    let body = body::read(head.status, body, deadline).await;
    let body = body.map_err(|error| error.with_causes(|text| secrets.scrub(text)))?;
    let proof = proof.map_or(ProofVerdict::Accepted, |sent| {
        let error = decode::error(&body);
        sent.classify(head.status, &head.headers, error.as_deref())
    });
    Ok(TokenResponse { head, body, requested_at, clock, audiences, skew, proof, facts })
}

/// Describes where a token request goes, and the dialect of that endpoint.
#[derive(Clone, Copy)]
pub(super) struct Target<'a> {
    pub(super) request: &'a TokenRequest,
    pub(super) endpoint: &'a EndpointUri,
    pub(super) dialect: &'a Dialect,
}

/// An HTTP request, and the facts about it that its response is judged by.
struct Encoded {
    request: Request<Bytes>,
    audiences: Option<AssertionAudiences>,
    proof: Option<SentProof>,
    facts: RequestFacts,
}

/// Returns the HTTP request, with times by the offset `clock`.
async fn encode(
    target: &Target<'_>,
    clock: Offset,
    deadline: Instant,
) -> Result<Encoded, TokenError> {
    let Target { request, endpoint, dialect } = *target;
    let credentials = request.credentials();
    let mut parts = TokenRequestParts::for_endpoint(endpoint.uri().clone(), endpoint.text());
    parts.set_issuer(endpoint.issuer());
    parts.set_takes_secret_in_form(endpoint.takes_secret_in_form());
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
    let grant_type = parts.parameter("grant_type").unwrap_or_default();
    let facts = RequestFacts {
        grant: grant_kind(grant_type),
        has_client_assertion: parts.parameter("client_assertion").is_some(),
        has_proof: credentials.dpop_key().is_some(),
        is_polled: is_polled(grant_type),
    };
    let (headers, body) = if dialect.has_json_body { parts.encode_json() } else { parts.encode() };

    let mut request = Request::new(Bytes::from(body));
    *request.method_mut() = Method::POST;
    *request.uri_mut() = endpoint.uri().clone();
    *request.headers_mut() = headers;
    let headers = request.headers_mut();
    // A header of client authentication replaces one of the endpoint.
    for (name, value) in &dialect.headers {
        headers.entry(name).or_insert_with(|| value.clone());
    }
    headers::set_defaults(headers);
    headers.insert(CONTENT_TYPE, dialect.content_type());
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
    Ok(Encoded { request, audiences, proof, facts })
}
