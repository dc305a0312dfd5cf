//! Requests: a token at hand, a token that was revoked, an API that takes none.

use std::convert::Infallible;
use std::future::Future;
use std::pin::pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use http::header::AUTHORIZATION;
use http::{Request, Response, StatusCode};
use tokio::time::advance;
use tower::{Layer, Service, ServiceExt};
use tower_oauth2_races::{AccessToken, OAuth2, OAuth2Layer, Origins, Replayed};

use crate::support::*;

/// An API that takes tokens other than those that were revoked. It answers in its own time, and says how often it was asked.
#[derive(Clone, Default)]
struct Api(Arc<Mutex<Asked>>);

#[derive(Default)]
struct Asked {
    revoked: Vec<String>,
    takes_none: bool,
    with: Vec<String>,
}

impl Api {
    fn revoke(&self, token: &AccessToken) {
        self.0.lock().unwrap().revoked.push(token.secret().to_owned());
    }

    fn asked(&self) -> Vec<String> {
        self.0.lock().unwrap().with.clone()
    }
}

impl Service<Request<()>> for Api {
    type Response = Response<()>;
    type Error = Infallible;
    type Future = BoxFuture<Result<Response<()>, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<()>) -> Self::Future {
        let header = request.headers()[AUTHORIZATION].to_str().unwrap();
        let token = header.strip_prefix("Bearer ").unwrap().to_owned();
        let mut asked = self.0.lock().unwrap();
        let is_refused = asked.takes_none || asked.revoked.contains(&token);
        asked.with.push(token);
        Box::pin(async move {
            pause().await;
            let mut response = Response::new(());
            if is_refused {
                *response.status_mut() = StatusCode::UNAUTHORIZED;
            }
            Ok(response)
        })
    }
}

fn service(world: &World, api: &Api) -> OAuth2<Api> {
    let origins = Origins::only(["https://api.test"]).unwrap();
    OAuth2Layer::new(world.cache.clone(), origins).layer(api.clone())
}

fn request() -> Request<()> {
    Request::get("https://api.test/").body(()).unwrap()
}

fn send(service: &OAuth2<Api>) -> Response<()> {
    shuttle::future::block_on(service.clone().oneshot(request())).unwrap()
}

/// Whether it is sent at once; what becomes of it does not matter.
fn begin(service: &mut OAuth2<Api>) {
    let mut context = Context::from_waker(Waker::noop());
    assert!(service.poll_ready(&mut context).is_ready());
    drop(service.call(request()));
}

// R1, C8
#[test]
fn requests_with_a_revoked_token_make_one_token_request_more() {
    explore(|| {
        let (world, _runtime) = World::new(|n| Answer::Token(token(n)), |cache| cache);
        let api = Api::default();
        let service = service(&world, &api);
        api.revoke(&world.get().unwrap());
        let requests = (0..3).map(|_| {
            let service = service.clone();
            world.spawn(move |_| send(&service).status())
        });
        let requests: Vec<_> = requests.collect();
        assert!(join(requests).iter().all(|status| *status == StatusCode::OK));
        assert_eq!(world.journal.count(), 2);
        assert!(api.asked().len() <= 6);
        assert_nobody_slept();
    });
}

// C8
#[test]
fn a_service_that_has_a_token_at_hand_does_not_send_it_after_its_rejection() {
    explore(|| {
        let (world, _runtime) = World::new(|n| Answer::Token(token(n)), |cache| cache);
        let api = Api::default();
        let first = world.get().unwrap();
        let other = {
            let first = first.clone();
            world.spawn(move |world| {
                world.reject(&first);
                world.get().unwrap();
            })
        };
        let mut service = service(&world, &api);
        for _ in 0..5 {
            let begun = world.journal.moment();
            begin(&mut service);
            if let Some(sent) = api.0.lock().unwrap().with.pop() {
                let number = sent.strip_prefix("token-").unwrap().parse().unwrap();
                world.journal.may_be_handed_out(&token(number), begun, begun);
            }
        }
        other.join().unwrap();
        begin(&mut service);
        assert_eq!(api.asked(), ["token-2"]);
    });
}

// C8
#[test]
fn in_every_order_a_rejection_and_a_hit_get_along() {
    explore_all(|| {
        let (world, _runtime) = World::new(|n| Answer::Token(token(n)), |cache| cache);
        let api = Api::default();
        let mut service = service(&world, &api);
        let first = world.get().unwrap();
        world.settle();
        (0..3).for_each(|_| begin(&mut service));
        let rejecting = world.spawn(move |world| world.reject(&first));
        begin(&mut service);
        let sent = api.asked().len();
        rejecting.join().unwrap();
        assert!(sent >= 3);
        begin(&mut service);
        assert_eq!(api.asked().len(), sent, "it is sent after its rejection");
    });
}

// R8
#[test]
fn an_api_that_takes_no_token_is_found_out_once_for_each_fresh_token() {
    explore(|| {
        let (world, _runtime) = World::new(|n| Answer::Token(token(n)), |cache| cache);
        let api = Api::default();
        api.0.lock().unwrap().takes_none = true;
        let service = service(&world, &api);
        world.get().unwrap();
        let requests = (0..3).map(|_| {
            let service = service.clone();
            world.spawn(move |_| send(&service).status())
        });
        let requests: Vec<_> = requests.collect();
        assert!(join(requests).iter().all(|status| *status == StatusCode::UNAUTHORIZED));
        // 100 ms after the first fresh token that was refused, twice that after the second.
        let fresh = world.journal.count() - 1;
        assert!(fresh >= 1);
        advance(Duration::from_millis(100) * (1 << (fresh - 1)));
        let response = send(&service);
        assert_eq!(response.extensions().get(), Some(&Replayed::Yes));
        assert_eq!(world.journal.count(), fresh + 2);
    });
}

// R5
#[test]
fn a_request_that_is_given_up_leaves_the_others_alone() {
    explore(|| {
        let (world, _runtime) = World::new(|n| Answer::Token(token(n)), |cache| cache);
        let api = Api::default();
        let service = service(&world, &api);
        api.revoke(&world.get().unwrap());
        let gone = {
            let service = service.clone();
            world.spawn(move |_| {
                let mut response = pin!(service.oneshot(request()));
                for _ in 0..3 {
                    let mut context = Context::from_waker(Waker::noop());
                    if response.as_mut().poll(&mut context).is_ready() {
                        break;
                    }
                    shuttle::thread::yield_now();
                }
            })
        };
        let stays = {
            let service = service.clone();
            world.spawn(move |_| send(&service).status())
        };
        gone.join().unwrap();
        assert_eq!(stays.join().unwrap(), StatusCode::OK);
        assert_eq!(world.journal.count(), 2);
        assert_nobody_slept();
    });
}
