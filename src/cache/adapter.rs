//! Offers the interface of the new cache over the old one, until the new one is merged.

use std::future::Future;
use std::sync::Arc;

use http::HeaderValue;

use super::TokenCache;
use super::slot::{AtHand, Grant, Hit};
use crate::credentials::ClientCredentials;
use crate::dpop::Prover;
use crate::error::TokenError;

pub(crate) type IssueId = u64;
pub(crate) type Sequence = u64;
pub(crate) type LocalToken = AtHand;
pub(crate) type TokenRef<'a> = Hit<'a>;

#[derive(Debug)]
pub(crate) struct IssuedToken(Grant);

impl IssuedToken {
    pub(crate) fn header(&self) -> &HeaderValue {
        &self.0.header
    }

    pub(crate) fn issue(&self) -> IssueId {
        self.0.number
    }

    pub(crate) fn prover(&self) -> Option<&Prover> {
        self.0.prover.as_ref()
    }

    pub(crate) fn is_from_store(&self) -> bool {
        self.0.is_from_store
    }

    pub(crate) fn fetch_began(&self) -> Sequence {
        1
    }
}

impl Hit<'_> {
    #[inline]
    pub(crate) fn issue(&self) -> IssueId {
        self.number()
    }

    pub(crate) fn to_token(&self) -> Arc<IssuedToken> {
        Arc::new(IssuedToken(self.grant()))
    }
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Claims(Option<Arc<str>>);

impl Claims {
    pub(crate) fn single(text: impl Into<Arc<str>>) -> Self {
        Self(Some(text.into()))
    }
}

#[derive(Clone, Debug, Default)]
#[allow(dead_code)]
pub(crate) struct Requirements {
    pub(crate) newer_than: Option<IssueId>,
    pub(crate) claims: Claims,
    pub(crate) origin: Option<u64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(dead_code)]
pub(crate) struct Target {
    pub(crate) origin: u64,
    pub(crate) resource: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SendNumber {
    First,
    Later,
}

#[derive(Clone, Debug)]
#[allow(dead_code)]
pub(crate) struct Rejection {
    pub(crate) issue: IssueId,
    pub(crate) target: Option<Target>,
    pub(crate) claims: Claims,
    pub(crate) send: SendNumber,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(dead_code)]
pub(crate) enum RejectionOutcome {
    Replaced { since: Sequence },
    BreakerOpen,
    ClaimsRefused,
}

impl TokenCache {
    pub(crate) fn acquire(
        &self,
        credentials: Option<&ClientCredentials>,
        _required: Requirements,
    ) -> impl Future<Output = Result<Arc<IssuedToken>, TokenError>> + Send + use<> {
        let grant = self.grant(credentials);
        async move { grant.await.map(|grant| Arc::new(IssuedToken(grant))) }
    }

    pub(crate) fn recheck(
        &self,
        credentials: Option<&ClientCredentials>,
        token: &Arc<IssuedToken>,
        _required: &Requirements,
    ) -> Option<Arc<IssuedToken>> {
        self.freshen(credentials, &token.0).map(|grant| Arc::new(IssuedToken(grant)))
    }

    pub(crate) fn reject_issue(
        &self,
        credentials: Option<&ClientCredentials>,
        rejection: &Rejection,
    ) -> RejectionOutcome {
        self.reject_number(credentials, rejection.issue, rejection.claims.0.clone());
        RejectionOutcome::Replaced { since: 0 }
    }

    pub(crate) fn report_refusal(
        &self,
        _credentials: Option<&ClientCredentials>,
        _issue: IssueId,
        _target: Target,
    ) {
    }

    pub(crate) fn report_acceptance(
        &self,
        _credentials: Option<&ClientCredentials>,
        _issue: IssueId,
        _target: Target,
    ) {
    }

    #[inline]
    pub(crate) fn has_suspicions(&self) -> bool {
        false
    }

    pub(crate) fn prefetch(
        &self,
        credentials: Option<&ClientCredentials>,
        _required: &Requirements,
    ) {
        self.prefetch_token(credentials);
    }
}
