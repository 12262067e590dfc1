//! A signal to the process; alone in its binary, because signals are for the whole process.

#[tokio::test]
async fn a_signal_cancels_the_token() {
    let stop = runtime::shutdown::on_signal().unwrap();
    assert!(!stop.is_cancelled());
    rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::TERM).unwrap();
    stop.cancelled().await;
}
