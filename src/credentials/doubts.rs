//! Finds settings that are probably mistakes, of which a cache warns.

use super::Credentials;
use crate::util::invisible::fault_of_text;

impl Credentials {
    /// Returns the names in the scope that a token request contains.
    pub(crate) fn requested_scope(&self) -> impl Iterator<Item = &str> {
        let parameters = &self.description.parameters;
        let replaced = parameters.iter().find(|(name, _)| &**name == "scope");
        let own = self.description.scope.iter().filter(move |_| replaced.is_none());
        let replaced = replaced.map_or("", |(_, value)| value.as_str());
        own.map(|name| &**name).chain(replaced.split_ascii_whitespace())
    }

    /// Returns the names of settings with a control character or a byte order mark.
    pub(crate) fn settings_with_faults(&self) -> Vec<&str> {
        let description = &*self.description;
        let grant_type = [("grant_type", description.grant.grant_type())];
        let lists = [
            ("scope", &description.scope),
            ("audience", &description.audiences),
            ("resource", &description.resources),
        ];
        let lists = lists
            .into_iter()
            .flat_map(|(name, values)| values.iter().map(move |value| (name, &**value)));
        let parameters =
            description.parameters.iter().map(|(name, value)| (&**name, value.as_str()));
        let all = grant_type.into_iter().chain(lists).chain(parameters);
        let has_fault = |text| fault_of_text(text).is_some();
        let faulty = all.filter(|(name, value)| has_fault(name) || has_fault(value));
        let mut names: Vec<_> = faulty.map(|(name, _)| name).collect();
        names.dedup();
        names
    }
}
