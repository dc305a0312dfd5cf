use tower_oauth2::Origins;

fn main() {
    let _ = Origins::only(1);
}
