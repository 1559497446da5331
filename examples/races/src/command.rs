//! A command as a client sends it to Redis.

use crate::Result;

/// The bytes of a command, and its name.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Command {
    pub(crate) name: String,
    pub(crate) bytes: Vec<u8>,
}

impl Command {
    /// Takes the first command from what a client sent. `None`: it has not arrived in full.
    pub(crate) fn take(sent: &mut Vec<u8>) -> Result<Option<Self>> {
        let mut rest = &sent[..];
        let Some(count) = number(&mut rest, b'*')? else { return Ok(None) };
        let mut name = None;
        for _ in 0..count {
            let Some(length) = number(&mut rest, b'$')? else { return Ok(None) };
            let Some((word, behind)) = rest.split_at_checked(length) else { return Ok(None) };
            name.get_or_insert_with(|| String::from_utf8_lossy(word).to_uppercase());
            let Some(behind) = behind.get(2..) else { return Ok(None) };
            rest = behind;
        }
        let taken = sent.len() - rest.len();
        let bytes = sent.drain(..taken).collect();
        Ok(Some(Self { name: name.unwrap_or_default(), bytes }))
    }
}

/// The number of a line that begins with a mark. `None`: the line has not arrived in full.
fn number(rest: &mut &[u8], mark: u8) -> Result<Option<usize>> {
    let Some(end) = rest.windows(2).position(|two| two == b"\r\n") else { return Ok(None) };
    let number =
        rest[..end].strip_prefix(&[mark]).and_then(|digits| std::str::from_utf8(digits).ok()?.parse().ok());
    *rest = &rest[end + 2..];
    number.map(Some).ok_or_else(|| "a client sent what is no array of texts".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    const TWO: &[u8] = b"*2\r\n$3\r\ndel\r\n$4\r\na\r\nb\r\n*1\r\n$4\r\nPING\r\n";

    #[test]
    fn commands_are_taken_one_by_one() {
        let mut sent = TWO.to_vec();
        let del = Command::take(&mut sent).unwrap().unwrap();
        assert_eq!((del.name.as_str(), del.bytes.len()), ("DEL", TWO.len() - 14));
        assert_eq!(Command::take(&mut sent).unwrap().unwrap().name, "PING");
        assert!(sent.is_empty());
    }

    #[test]
    fn a_command_that_has_not_arrived_in_full_is_left() {
        for end in 0..TWO.len() - 14 {
            let mut sent = TWO[..end].to_vec();
            assert_eq!(Command::take(&mut sent).unwrap(), None, "{end} bytes");
            assert_eq!(sent.len(), end);
        }
    }

    #[test]
    fn what_is_no_array_is_an_error() {
        assert!(Command::take(&mut b"PING\r\n".to_vec()).is_err());
    }
}
