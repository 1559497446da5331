//! Reads the code and the detail of a server's error.

use redis::RedisError;

/// The code of an error that the server answered; `None` for an error of the connection. Redis 6.2 wraps the error of a
/// command in a script as `ERR Error running script …: -READONLY …`.
pub(crate) fn server_code(error: &RedisError) -> Option<String> {
    let (code, details) = code_and_detail(error)?;
    let wrapped =
        details.as_deref().filter(|details| code == "ERR" && details.starts_with("Error running script"));
    let inner = wrapped.and_then(|details| details.split(": -").nth(1)?.split(' ').next());
    Some(inner.map_or(code, str::to_owned))
}

/// The text of such an error behind its code.
pub(crate) fn server_detail(error: &RedisError) -> Option<String> {
    code_and_detail(error)?.1
}

/// Whether the server does not have the script: the call was not executed.
pub(crate) fn is_no_script(error: &RedisError) -> bool {
    server_code(error).as_deref() == Some("NOSCRIPT")
}

/// For a pipeline redis-rs lists the errors, and gives only the code of the first.
fn code_and_detail(error: &RedisError) -> Option<(String, Option<String>)> {
    let of_server = error.clone().into_server_errors();
    match of_server.as_ref().and_then(|errors| errors.first()) {
        Some((_, error)) => Some((error.code().to_owned(), error.details().map(str::to_owned))),
        None => Some((error.code()?.to_owned(), error.detail().map(str::to_owned))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code(code: &str, detail: &str) -> Option<String> {
        server_code(&redis::make_extension_error(code.to_owned(), Some(detail.to_owned())))
    }

    #[test]
    fn the_code_of_a_server_error_is_found_in_what_redis_6_2_makes_of_it() {
        assert_eq!(code("OOM", "command not allowed").as_deref(), Some("OOM"));
        let wrapped = "Error running script (call to f_8a1b): @user_script:17: @user_script: 17: -READONLY You can't write";
        assert_eq!(code("ERR", wrapped).as_deref(), Some("READONLY"));
        assert_eq!(code("ERR", "cloakroom get: 1 KEYS and 1 ARGV").as_deref(), Some("ERR"));
        assert_eq!(server_code(&RedisError::from(std::io::Error::other("cut"))), None);
    }
}
