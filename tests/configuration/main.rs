#[test]
fn x() {
    let t = "a = 1\nclients = { stock = { client_id = \"x\", client_secret = \"s3cr3t\", bogus = 1 } }\n";
    #[derive(serde::Deserialize, Debug)]
    struct S { #[allow(dead_code)] a: i32, #[allow(dead_code)] clients: tower_oauth2::config::Clients }
    let e = toml::from_str::<S>(t).unwrap_err();
    println!("{e}\n--{}", e.message());
    let t = "[stock]\nclient_secret = \"s3cr3t\"\nbogus = 1\n";
    let e = toml::from_str::<tower_oauth2::config::Clients>(t).unwrap_err();
    println!("{e}\n--{}", e.message());
}
