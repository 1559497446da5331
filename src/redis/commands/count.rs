//! count: how many live sessions a user or node has.

use crate::model::{Result, Selector};
use crate::redis::call::Operation;
use crate::redis::script;

pub(crate) async fn run(operation: &Operation<'_>, owner: &Selector) -> Result<u64> {
    owner.validate()?;
    let keys = [operation.keys().index(owner), operation.keys().expiry()];
    let (mut total, mut start) = (0, 0);
    loop {
        let mut call = operation.call(&script::COUNT, keys.iter().map(String::as_str));
        call.arg(start);
        let mut reply = operation.run(&script::COUNT, &call).await?.expect_ok()?;
        total += reply.number()?;
        start = reply.number()?;
        if start == 0 {
            return Ok(total);
        }
    }
}
