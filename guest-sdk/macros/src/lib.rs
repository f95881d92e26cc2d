//! Attribute macros of depx-sdk.

use proc_macro::TokenStream;
use proc_macro2::TokenStream as Tokens;
use quote::quote;
use syn::{Error, FnArg, ItemFn, ReturnType, Safety, Type};

/// Makes a function the task: writes a `main` that hands it standard input, writes its result to standard output, and ends
/// with exit code 1 and the error on standard error if it fails.
///
/// The function takes `&[u8]` or `Vec<u8>` and gives a `Result` of anything that is bytes (`String`, `Vec<u8>`, `&[u8]`) or an
/// error that can be displayed. It stands at the root of a program, as `main` would.
#[proc_macro_attribute]
pub fn task(arguments: TokenStream, item: TokenStream) -> TokenStream {
    expand(arguments.into(), item.into()).unwrap_or_else(Error::into_compile_error).into()
}

fn expand(arguments: Tokens, item: Tokens) -> syn::Result<Tokens> {
    if !arguments.is_empty() {
        return Err(Error::new_spanned(arguments, "#[task] takes no arguments"));
    }
    let function: ItemFn = syn::parse2(item)?;
    let signature = &function.sig;
    let refuse = |what: &dyn quote::ToTokens, why: &str| Err(Error::new_spanned(what, why));
    if let Some(keyword) = &signature.asyncness {
        return refuse(keyword, "a task is not async: it has nothing to wait for");
    }
    if let Safety::Unsafe(keyword) = &signature.safety {
        return refuse(keyword, "a task is not unsafe to call");
    }
    if !signature.generics.params.is_empty() {
        return refuse(&signature.generics, "a task is not generic");
    }
    if signature.ident == "main" {
        return refuse(&signature.ident, "#[task] writes the main function: give the task another name");
    }
    if matches!(signature.output, ReturnType::Default) {
        return refuse(&signature.ident, "a task returns a Result: its output as bytes, or an error");
    }
    let mut inputs = signature.inputs.iter();
    let (Some(FnArg::Typed(input)), None) = (inputs.next(), inputs.next()) else {
        return refuse(&signature.inputs, "a task takes one argument, its input: &[u8] or Vec<u8>");
    };
    let input = match &*input.ty {
        Type::Reference(_) => quote!(&input),
        _ => quote!(input),
    };
    let name = &signature.ident;
    Ok(quote! {
        #function

        fn main() -> ::std::process::ExitCode {
            match ::depx_sdk::generated::input() {
                ::core::result::Result::Ok(input) => ::depx_sdk::generated::finish(#name(#input)),
                ::core::result::Result::Err(code) => code,
            }
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn expanded(item: &str) -> Result<String, String> {
        let tokens = expand(Tokens::new(), item.parse().unwrap());
        tokens.map(|tokens| tokens.to_string()).map_err(|error| error.to_string())
    }

    #[test]
    fn input_is_borrowed_or_handed_over() {
        assert!(expanded("fn f(input: &[u8]) -> Result<String, E> { g(input) }").unwrap().contains("f (& input)"));
        assert!(expanded("fn f(input: Vec<u8>) -> Result<String, E> { g(input) }").unwrap().contains("f (input)"));
    }

    #[test]
    fn what_is_not_a_task_is_told_why() {
        for (item, part) in [
            ("struct S;", "expected"),
            ("async fn f(input: &[u8]) -> R { g() }", "not async"),
            ("unsafe fn f(input: &[u8]) -> R { g() }", "not unsafe"),
            ("fn f<T>(input: &[u8]) -> R { g() }", "not generic"),
            ("fn main(input: &[u8]) -> R { g() }", "another name"),
            ("fn f(input: &[u8]) { g() }", "returns a Result"),
            ("fn f() -> R { g() }", "one argument"),
            ("fn f(a: &[u8], b: &[u8]) -> R { g() }", "one argument"),
            ("fn f(self) -> R { g() }", "one argument"),
        ] {
            let error = expanded(item).unwrap_err();
            assert!(error.contains(part), "{item}: {error}");
        }
        let error = expand("timeout = 3".parse().unwrap(), "fn f() {}".parse().unwrap()).unwrap_err();
        assert!(error.to_string().contains("no arguments"));
    }
}
