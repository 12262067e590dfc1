//! A client of the REST API over one kept connection.

use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;

use serde_json::{Value, json};

use crate::process::PATIENCE;

/// Who asks, and where.
pub(crate) struct Http {
    address: String,
    key: String,
    connection: Option<BufReader<TcpStream>>,
}

impl Http {
    pub(crate) fn new(url: &str, key: &str) -> Http {
        let address = url.strip_prefix("http://").expect("plain HTTP").to_owned();
        Http { address, key: key.to_owned(), connection: None }
    }

    /// Makes one request; an error if the server is away or goes away.
    pub(crate) fn send(
        &mut self,
        method: &str,
        path: &str,
        idempotency_key: &str,
        body: Option<&Value>,
    ) -> io::Result<(u16, Value)> {
        let mut connection = match self.connection.take() {
            Some(connection) => connection,
            None => connect(&self.address)?,
        };
        let body = body.map(Value::to_string).unwrap_or_default();
        let head = self.head(method, path, idempotency_key, body.len());
        connection.get_mut().write_all((head + &body).as_bytes())?;
        let answer = read_answer(&mut connection)?;
        self.connection = Some(connection);
        Ok(answer)
    }

    /// Request line and headers.
    pub(crate) fn head(&self, method: &str, path: &str, idempotency_key: &str, length: usize) -> String {
        let once = match idempotency_key {
            "" => String::new(),
            key => format!("idempotency-key: {key}\r\n"),
        };
        format!(
            "{method} {path} HTTP/1.1\r\nhost: {}\r\nauthorization: Bearer {}\r\ncontent-type: application/json\r\n\
             {once}content-length: {length}\r\n\r\n",
            self.address, self.key
        )
    }

    pub(crate) fn get(&mut self, path: &str) -> Value {
        let (status, body) = self.send("GET", path, "", None).expect("an answer");
        assert_eq!(status, 200, "GET {path}: {body}");
        body
    }

    pub(crate) fn post(&mut self, path: &str, idempotency_key: &str, body: &Value) -> Value {
        let (status, answer) = self.send("POST", path, idempotency_key, Some(body)).expect("an answer");
        assert!((200..300).contains(&status), "POST {path} {body}: {status} {answer}");
        answer
    }

    /// All resources of a collection, page by page.
    pub(crate) fn all(&mut self, path: &str, field: &str) -> Vec<Value> {
        let joint = if path.contains('?') { '&' } else { '?' };
        let (mut all, mut token) = (Vec::new(), String::new());
        loop {
            let mut page = self.get(&format!("{path}{joint}pageSize=500&pageToken={token}"));
            if let Value::Array(rows) = page[field].take() {
                all.extend(rows);
            }
            match page["nextPageToken"].as_str() {
                Some(next) if !next.is_empty() => token = next.to_owned(),
                _ => return all,
            }
        }
    }

    /// Makes a product with one variant, whose id it gives.
    pub(crate) fn product(&mut self, sku: &str) -> String {
        let product = json!({"name": sku, "variants": [{"sku": sku}]});
        let made = self.post("/v1/products", "", &product);
        made["variants"][0]["id"].as_str().expect("an id").to_owned()
    }

    pub(crate) fn location(&mut self, code: &str) -> String {
        let made = self.post("/v1/locations", "", &json!({"code": code, "name": code}));
        made["id"].as_str().expect("an id").to_owned()
    }
}

pub(crate) fn connect(address: &str) -> io::Result<BufReader<TcpStream>> {
    let stream = TcpStream::connect(address)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    Ok(BufReader::new(stream))
}

pub(crate) fn read_answer(connection: &mut BufReader<TcpStream>) -> io::Result<(u16, Value)> {
    let mut line = String::new();
    let mut read_line = |connection: &mut BufReader<TcpStream>| {
        line.clear();
        match connection.read_line(&mut line)? {
            0 => Err(io::Error::from(io::ErrorKind::UnexpectedEof)),
            _ => Ok(line.trim_end().to_ascii_lowercase()),
        }
    };
    let status = read_line(connection)?;
    let status = status.split(' ').nth(1).and_then(|code| code.parse().ok()).expect("a status line");
    let mut length = None;
    loop {
        let header = read_line(connection)?;
        if header.is_empty() {
            break;
        }
        if let Some(value) = header.strip_prefix("content-length: ") {
            length = value.parse().ok();
        }
    }
    let mut body = vec![0; length.expect("a content length")];
    connection.read_exact(&mut body)?;
    Ok((status, serde_json::from_slice(&body).unwrap_or(Value::Null)))
}
