//! Collects the parameters of a token request.

use std::borrow::Cow;

use tower::BoxError;
use zeroize::Zeroizing;

use super::Credentials;
use crate::client_auth::TokenRequestParts;

impl Credentials {
    /// Returns the parameters of the token request, for custom sources of tokens.
    ///
    /// Parameters that authenticate the client are not among them, and neither is a parameter of
    /// the grant whose value is read or created for each request: a refresh token, a JWT that is
    /// signed here, and a secret from a file or a function.
    pub fn parameters(&self) -> Vec<(Cow<'_, str>, Cow<'_, str>)> {
        let grant = self.description.grant.parameters().into_iter();
        let grant = grant.filter_map(|(name, value)| Some((name, value.text()?)));
        let mut all: Vec<(Cow<'_, str>, Cow<'_, str>)> =
            grant.map(|(name, value)| (name.into(), value.into())).collect();
        all.extend(self.target_parameters().map(|(name, value)| (name.into(), value)));
        for (name, value) in &self.description.parameters {
            all.retain(|(known, _)| known != &**name);
            all.push(((&**name).into(), value.as_str().into()));
        }
        all
    }

    /// Adds the parameters to a token request. Reads the secrets of the grant, within the deadline
    /// of the request.
    pub(crate) async fn add_parameters(
        &self,
        parts: &mut TokenRequestParts,
    ) -> Result<(), BoxError> {
        for (name, value) in self.description.grant.parameters() {
            let value = value.read(parts).await?;
            parts.replace_parameter(name.into(), value);
        }
        for (name, value) in self.target_parameters() {
            parts.add_parameter(name.into(), Zeroizing::new(value.into_owned()));
        }
        for (name, value) in &self.description.parameters {
            parts.replace_parameter(name.clone().into_string().into(), value.clone());
        }
        Ok(())
    }

    /// Returns the parameters for scope, audiences, resources and authorization details.
    fn target_parameters(&self) -> impl Iterator<Item = (&'static str, Cow<'_, str>)> {
        let description = &*self.description;
        let scope =
            (!description.scope.is_empty()).then(|| ("scope", description.scope.join(" ").into()));
        let details = description.authorization_details.as_deref();
        let list = |name, values| {
            let values: &[Box<str>] = values;
            values.iter().map(move |value| (name, Cow::from(&**value)))
        };
        scope
            .into_iter()
            .chain(list("audience", &description.audiences))
            .chain(list("resource", &description.resources))
            .chain(details.map(|details| ("authorization_details", details.into())))
    }
}
