//! `export audit`: the audit log of a running server, as one file.

use std::fs::{self, OpenOptions};
use std::io::{ErrorKind, Write as _};
use std::path::Path;

use proto::audit::v1::audit_service_client::AuditServiceClient;
use proto::audit::v1::{ExportAuditLogRequest, GetCheckpointRequest};
use serde_json::json;
use tonic::{Code, Request, Status};

use crate::cli::{self, ExportAudit, Failure, say};
use crate::import::{client, server};

/// Bytes of an answer: a part of the file has about 1 MiB.
const ANSWER_BYTES_MAX: usize = 16 * 1024 * 1024;

pub(crate) fn run(args: &ExportAudit) -> Result<(), Failure> {
    let (url, key) = server(&args.data, args.url.clone(), args.key.clone())?;
    cli::run_async(export(args, &url, &key))
}

async fn export(args: &ExportAudit, url: &str, key: &str) -> Result<(), Failure> {
    let (channel, key) = client::channel(url, key).await?;
    let mut audit = AuditServiceClient::new(channel).max_decoding_message_size(ANSWER_BYTES_MAX);
    let with_key = |page_token: String| {
        let mut request = Request::new(ExportAuditLogRequest { page_token });
        request.metadata_mut().insert("authorization", key.clone());
        request
    };
    let mut first = Request::new(GetCheckpointRequest {});
    first.metadata_mut().insert("authorization", key.clone());
    let checkpoint = audit.get_checkpoint(first).await.map_err(|status| refused(&status))?.into_inner();

    // Under its name stands a whole file or none.
    let draft = args.into.with_extension("part");
    if args.into.exists() {
        return Err(Failure::Usage(format!("'{}' exists already: name another file", args.into.display())));
    }
    let opened = OpenOptions::new().write(true).create(true).truncate(true).open(&draft);
    let mut file = opened.map_err(|error| unwritable(&draft, &error))?;
    let (mut token, mut bytes) = (String::new(), 0);
    loop {
        let part =
            audit.export_audit_log(with_key(token)).await.map_err(|status| refused(&status))?.into_inner();
        file.write_all(&part.data).map_err(|error| unwritable(&draft, &error))?;
        bytes += part.data.len();
        token = part.next_page_token;
        if token.is_empty() {
            break;
        }
    }
    file.sync_all().map_err(|error| unwritable(&draft, &error))?;
    fs::rename(&draft, &args.into).map_err(|error| unwritable(&args.into, &error))?;
    if args.json {
        say(json!({
            "file": args.into, "bytes": bytes, "logKey": checkpoint.log_key, "witnessKey": checkpoint.witness_key,
        }));
        return Ok(());
    }
    let file = args.into.display();
    say(format_args!("{file}: the audit log '{}' ({bytes} bytes). Check it with\n", checkpoint.origin));
    say(format_args!(
        "  cargo-pilot verify audit '{file}' --log-key '{}' \\\n    --witness-key '{}'\n",
        checkpoint.log_key, checkpoint.witness_key
    ));
    say("and note both keys elsewhere: they stay the same.");
    Ok(())
}

fn refused(status: &Status) -> Failure {
    let message = status.message();
    match status.code() {
        Code::Unauthenticated => Failure::Usage("the API key is not valid".to_owned()),
        Code::PermissionDenied => Failure::Usage(format!("the API key does not permit it: {message}")),
        Code::FailedPrecondition => Failure::Data(format!("the server refuses: {message}")),
        _ => Failure::Unavailable(format!("the server does not answer as it should: {message}")),
    }
}

fn unwritable(path: &Path, error: &std::io::Error) -> Failure {
    let advice = match error.kind() {
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => "make room on its disk",
        _ => "name another file with --into",
    };
    Failure::Machine(format!("'{}' cannot be written: {error}: {advice}", path.display()))
}
