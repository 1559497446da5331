//! Where a request or a reply ends, in the protocol of Redis (RESP2), and what a request says.

/// Where the first whole value of these bytes ends. `None`: it has not come whole.
pub(super) fn end(bytes: &[u8]) -> Option<usize> {
    value(bytes, 0)
}

fn value(bytes: &[u8], at: usize) -> Option<usize> {
    let line = at + bytes.get(at..)?.windows(2).position(|pair| pair == b"\r\n")?;
    let behind = line + 2;
    let count = || std::str::from_utf8(&bytes[at + 1..line]).unwrap().parse::<i64>().unwrap();
    match bytes[at] {
        b'$' => {
            let end = match usize::try_from(count()) {
                Ok(length) => behind + length + 2,
                Err(_) => behind, // nil
            };
            (end <= bytes.len()).then_some(end)
        }
        b'*' => (0..count()).try_fold(behind, |at, _| value(bytes, at)),
        _ => Some(behind),
    }
}

/// The words of a request.
pub(super) fn words(request: &[u8]) -> Vec<Vec<u8>> {
    let mut words = Vec::new();
    let mut at = request.windows(2).position(|pair| pair == b"\r\n").unwrap() + 2;
    while at < request.len() {
        let line = at + request[at..].windows(2).position(|pair| pair == b"\r\n").unwrap();
        let length: usize = std::str::from_utf8(&request[at + 1..line]).unwrap().parse().unwrap();
        words.push(request[line + 2..line + 2 + length].to_vec());
        at = line + 2 + length + 2;
    }
    words
}

/// The request that these words are.
pub(super) fn request(words: &[Vec<u8>]) -> Vec<u8> {
    let mut request = format!("*{}\r\n", words.len()).into_bytes();
    for word in words {
        request.extend(format!("${}\r\n", word.len()).into_bytes());
        request.extend(word);
        request.extend(b"\r\n");
    }
    request
}

#[test]
fn a_value_ends_where_its_last_part_does_and_not_before() {
    let values: [&[u8]; 6] = [
        b"+OK\r\n",
        b":12\r\n",
        b"$-1\r\n",
        b"$4\r\na\r\nb\r\n",
        b"*2\r\n$1\r\na\r\n*1\r\n:1\r\n",
        b"*-1\r\n",
    ];
    for whole in values {
        let mut more = whole.to_vec();
        more.extend(b"+next\r\n");
        assert_eq!(end(&more), Some(whole.len()));
        for part in 0..whole.len() {
            assert_eq!(end(&whole[..part]), None);
        }
    }
    let words = super::resp::words(b"*2\r\n$3\r\nGET\r\n$2\r\n\r\n\r\n");
    assert_eq!(words, [b"GET".to_vec(), b"\r\n".to_vec()]);
    assert_eq!(request(&words), b"*2\r\n$3\r\nGET\r\n$2\r\n\r\n\r\n");
}
