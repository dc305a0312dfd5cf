//! Without the feature nothing is counted, and the compiler leaves out what would be.

use std::time::Duration;

use super::Whom;
use crate::error::TokenError;
use crate::request::TokenRequest;
use crate::token::AccessToken;

pub(crate) struct Asked;

pub(crate) struct Replaying;

pub(crate) struct Timer;

impl Asked {
    pub(crate) fn begin(_whom: Whom, _request: &TokenRequest) -> Self {
        Self
    }

    pub(crate) fn end(self, _result: &Result<AccessToken, TokenError>) {}
}

impl Replaying {
    pub(crate) fn begin() -> Self {
        Self
    }

    pub(crate) fn end_accepted(&mut self) {}

    pub(crate) fn end_rejected(&mut self) {}

    pub(crate) fn end_without_token(&mut self) {}
}

impl Timer {
    pub(crate) fn start() -> Self {
        Self
    }

    pub(crate) fn end_of_store(self, _operation: &'static str, _error_type: Option<&'static str>) {}
}

pub(crate) fn describe() {}

pub(crate) fn backoff(_window: Duration, _class: &'static str) {}

pub(crate) fn failing_credentials(_more: i8) {}

pub(crate) fn broken_apis(_more: i32) {}

pub(crate) fn not_replayed(_reason: &'static str) {}
