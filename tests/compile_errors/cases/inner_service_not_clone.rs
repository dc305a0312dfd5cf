use tower_oauth2::OAuth2Layer;

struct NotClone;

fn wrap(layer: &OAuth2Layer) {
    let _ = layer.layer(NotClone);
}

fn main() {}
