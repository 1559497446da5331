//! The proof at the start.

use cloakroom::{Refusal, Rules};

use super::{TRANSACTION, builder, commands, set_user};
use crate::support::Context;
use crate::support::expect::refusal;
use crate::support::repository::root;
use crate::support::server::connect;

/// What a start says that the user lacks.
async fn lacking(context: &Context) -> Vec<String> {
    match refusal(builder(context).build().await) {
        Refusal::Forbidden { lacking } => lacking,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_store_does_not_start_without_any_of_its_commands_and_names_it() {
    let context = Context::own(&[]).await;
    for command in commands().iter().map(String::as_str).chain(TRANSACTION) {
        let command = command.to_lowercase();
        set_user(&context, &["~*", "+@all", &format!("-{command}")]).await;
        assert_eq!(lacking(&context).await, [format!("+{command}")]);
        assert_eq!(context.all_keys().await, Vec::<String>::new(), "{command}");
    }
    set_user(&context, &["~*", "+@all", "-multi", "-exec"]).await;
    assert_eq!(lacking(&context).await, ["+multi", "+exec"]);
    set_user(&context, &["~*", "+@all", "-del", "-zadd"]).await;
    let error = builder(&context).build().await.unwrap_err();
    let told = "refused: the server's ACL forbids what the store needs: its user lacks +del +zadd";
    assert_eq!(error.to_string(), told);
}

#[tokio::test]
async fn a_store_does_not_start_where_it_may_not_run_scripts() {
    let context = Context::own(&[]).await;
    for (rule, expected) in [("-evalsha", "+evalsha"), ("-script", "+script|load")] {
        set_user(&context, &["~*", "+@all", rule]).await;
        assert_eq!(lacking(&context).await, [expected]);
    }
}

#[tokio::test]
async fn a_store_does_not_start_where_it_may_not_touch_all_of_its_keys() {
    let context = Context::own(&[]).await;
    let pattern = format!("~{}", context.key("*"));
    for other in ["~other:*".to_owned(), format!("~{}", context.key("session:*"))] {
        set_user(&context, &[&other, "+@all"]).await;
        assert_eq!(lacking(&context).await, std::slice::from_ref(&pattern));
    }
    set_user(&context, &[&pattern, "+@all"]).await;
    builder(&context).build().await.unwrap();
}

#[tokio::test]
async fn the_proof_needs_no_right_to_ask_about_rights() {
    let context = Context::own(&[]).await;
    set_user(&context, &["~*", "+@all", "-acl", "-info"]).await;
    builder(&context).build().await.unwrap();
    set_user(&context, &["~*", "+@all", "-acl", "-del"]).await;
    assert_eq!(lacking(&context).await, ["+del"]);
}

/// Redis 6.2 knows no `acl_check_cmd`, so there the script runs each command in vain. It does so here too.
#[tokio::test]
async fn a_server_that_cannot_be_asked_is_tried_and_nothing_changes() {
    let context = Context::own(&[]).await;
    let store = context.store(Rules::new()).await;
    context.session(&store, "a").await;
    let source = std::fs::read_to_string(root().join("lua/dist/start/forbidden.lua")).unwrap();
    let source = source.replace("if redis.acl_check_cmd then", "if false then");
    set_user(&context, &["~*", "+@all"]).await;
    let limited = format!("redis://limited:p@{}/", context.server().address());
    let mut limited = connect(&limited).await;
    let before = context.dump().await;
    let all = commands();
    for taken in all.iter().map(Some).chain([None]) {
        let taken = taken.map(|command| command.to_lowercase());
        let rule = taken.as_ref().map_or("+@all".to_owned(), |command| format!("-{command}"));
        context.command::<()>(&["ACL", "SETUSER", "limited", "+@all", &rule]).await;
        let mut question = redis::cmd("EVAL");
        question.arg(&source).arg(1).arg(context.key("session:")).arg(&all);
        let forbidden: Vec<String> = question.query_async(&mut limited).await.unwrap();
        assert_eq!(forbidden, taken.iter().map(|command| command.to_uppercase()).collect::<Vec<_>>());
        assert_eq!(context.dump().await, before, "{taken:?}");
    }
    context.check().await;
}
