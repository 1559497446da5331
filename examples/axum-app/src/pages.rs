//! The pages.

use cloakroom_axum::Device;
use maud::{DOCTYPE, Markup, html};

/// What is sold.
pub(crate) const ITEMS: [&str; 3] = ["Umbrella", "Gloves", "Scarf"];

pub(crate) fn shop(user: Option<&str>, csrf: &str, cart: &[String]) -> String {
    page(
        "Shop",
        user,
        csrf,
        html! {
            ul.items {
                @for item in ITEMS {
                    li {
                        span { (item) }
                        form method="post" action="/cart" {
                            (hidden(csrf))
                            input type="hidden" name="item" value=(item);
                            button { "Add to cart" }
                        }
                    }
                }
            }
            section #cart {
                h2 { "Your cart" }
                @if cart.is_empty() { p { "Nothing yet." } }
                ul { @for item in cart { li { (item) } } }
            }
        },
    )
}

pub(crate) fn login(csrf: &str, words: Option<&str>) -> String {
    page(
        "Log in",
        None,
        csrf,
        html! {
            @if let Some(words) = words { p.words role="status" { (words) } }
            form.login method="post" action="/login" {
                (hidden(csrf))
                label { "Name" input name="user" autocomplete="username" required; }
                label { "Password" input type="password" name="password" autocomplete="current-password" required; }
                button { "Log in" }
            }
            p.hint { "Ann and Ben are here (ann, ben), and their password is secret." }
        },
    )
}

pub(crate) fn devices(user: &str, csrf: &str, devices: &[Device]) -> String {
    page(
        "Your devices",
        Some(user),
        csrf,
        html! {
            ul.devices {
                @for device in devices {
                    li {
                        span { (device.attributes().get::<String>("browser").ok().flatten().unwrap_or_default()) }
                        @if device.is_current() {
                            strong { "this one" }
                        } @else {
                            form method="post" action="/devices/kick" {
                                (hidden(csrf))
                                input type="hidden" name="id" value=(device.id());
                                button { "Log out" }
                            }
                        }
                    }
                }
            }
            form method="post" action="/logout-everywhere" { (hidden(csrf)) button.danger { "Log out everywhere" } }
        },
    )
}

fn page(title: &str, user: Option<&str>, csrf: &str, content: Markup) -> String {
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width";
                title { (title) }
                link rel="stylesheet" href="/style.css";
                script src="/app.js" defer {}
            }
            body data-user=[user] {
                header {
                    a href="/" { "Shop" }
                    nav {
                        @match user {
                            Some(user) => {
                                a href="/devices" { (user) }
                                form method="post" action="/logout" { (hidden(csrf)) button { "Log out" } }
                            }
                            None => a href="/login" { "Log in" },
                        }
                    }
                }
                main { h1 { (title) } (content) }
            }
        }
    };
    page.into_string()
}

fn hidden(csrf: &str) -> Markup {
    html! { input type="hidden" name="csrf" value=(csrf); }
}
