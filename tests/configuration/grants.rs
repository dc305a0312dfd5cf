//! Tests the grants of client tables.

use crate::{File, client, public, token_request};

const URN: &str = "urn:ietf:params:oauth:grant-type:";

async fn parameters(fields: &str, names: &[&str]) -> Vec<Option<String>> {
    let request = token_request(&client(&public(fields))).await;
    names.iter().map(|name| request.parameter(name).map(|value| value.to_string())).collect()
}

fn some(texts: &[&str]) -> Vec<Option<String>> {
    texts.iter().map(|text| Some((*text).to_owned())).collect()
}

#[tokio::test(start_paused = true)]
async fn client_credentials_are_the_default() {
    let sent = parameters("resource = 'https://api.test'", &["grant_type", "resource"]).await;
    assert_eq!(sent, some(&["client_credentials", "https://api.test"]));
    let explicit = client(&public("grant_type = 'client_credentials'"));
    assert_eq!(explicit.credentials(), client(&public("")).credentials());
}

#[tokio::test(start_paused = true)]
async fn a_refresh_token_comes_from_a_text_or_a_file() {
    let file = File::new("r-1\n");
    for source in ["'r-1'".to_owned(), file.toml()] {
        let fields = format!("grant_type = 'refresh_token'\nrefresh_token = {source}");
        let sent = parameters(&fields, &["grant_type", "refresh_token"]).await;
        assert_eq!(sent, some(&["refresh_token", "r-1"]));
    }
}

#[test]
fn another_refresh_token_is_another_identity() {
    let with = |token| {
        let fields = format!("grant_type = 'refresh_token'\nrefresh_token = '{token}'");
        client(&public(&fields)).credentials().unwrap()
    };
    assert_eq!(with("r-1"), with("r-1"));
    assert_ne!(with("r-1"), with("r-2"));
}

#[tokio::test(start_paused = true)]
async fn assertions_and_exchanged_tokens_are_sent() {
    let file = File::new("subject\n");
    let fields = format!("grant_type = '{URN}jwt-bearer'\nassertion = 'a.b.c'");
    let sent = parameters(&fields, &["grant_type", "assertion"]).await;
    assert_eq!(sent, some(&[&format!("{URN}jwt-bearer"), "a.b.c"]));

    let fields = format!(
        "grant_type = '{URN}token-exchange'\nsubject_token = {}\nsubject_token_type = 's'\n\
         actor_token = 'actor'\nactor_token_type = 'a'\nrequested_token_type = 'r'",
        file.toml()
    );
    let names = [
        "subject_token",
        "subject_token_type",
        "actor_token",
        "actor_token_type",
        "requested_token_type",
    ];
    assert_eq!(parameters(&fields, &names).await, some(&["subject", "s", "actor", "a", "r"]));
}

#[tokio::test(start_paused = true)]
async fn another_grant_type_is_sent_with_its_parameters() {
    let file = File::new("hunter2\n");
    let fields = format!(
        "grant_type = 'password'\nparameters = {{ username = 'alf', password = {} }}",
        file.toml()
    );
    let sent = parameters(&fields, &["grant_type", "username", "password"]).await;
    assert_eq!(sent, some(&["password", "alf", "hunter2"]));
}
