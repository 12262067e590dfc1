//! Nobody is counted.

use futures::future::join_all;
use http::Method;

use crate::process::Server;

const IN_A_ROW: usize = 10_000;
const AT_ONCE: usize = 500;

/// API-13, but for fair shares under overload, which `load-tests` measures: 10,000 calls in a row and 500 at once
/// from one key are all answered by a real server, and none is refused by count.
#[tokio::test]
async fn every_call_of_a_key_is_answered() {
    let server = Server::start(&[]);
    let rest = server.demo();
    for _ in 0..IN_A_ROW {
        rest.call(Method::GET, "/v1/caller").send().await.ok(200);
    }
    for rest in [rest.clone(), rest.http2()] {
        let answers = join_all((0..AT_ONCE).map(|_| rest.call(Method::GET, "/v1/caller").send())).await;
        assert!(answers.iter().all(|answer| answer.status == 200));
    }
    server.stop();
}
