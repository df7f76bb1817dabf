"""A person connects a mailbox by the guides, in a real browser, from the first card to the green tag and beyond.

The provider is the sandbox, in the notebook's own kernel; its sign-in pages and its console are real pages on loopback.
On the way something is wrong, the guide explains it, and the person mends it. In the middle the kernel is restarted.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mailops import Ops
from mailops.jobs.catalogue import read

pytestmark = [pytest.mark.browser, pytest.mark.timeout(280)]

ANN, GOOGLE = "ann@example.com", "g@example.com"


def with_parameters(folder: Path, name: str, **values: Any) -> None:
    """The notebook with other first values, as a person edits its parameters cell."""
    import json

    path = folder / f"{name}.ipynb"
    notebook = read(path)
    for cell in notebook["cells"]:
        if "parameters" in cell.get("metadata", {}).get("tags", []):
            text = "".join(cell["source"])
            for key, value in values.items():
                text, count = re.subn(rf"(?m)^({key}: \w+ = ).*$", lambda m, v=value: m[1] + repr(v), text)
                assert count == 1, key
            cell["source"] = text
    path.write_text(json.dumps(notebook), "utf-8")


def run_all(page: Any) -> None:
    page.get_by_role("menuitem", name="Run", exact=True).click()
    page.get_by_text("Run All Cells", exact=True).click()


def restart(page: Any) -> None:
    """Restart the kernel, and run all cells again."""
    page.get_by_role("menuitem", name="Kernel", exact=True).click()
    page.get_by_text("Restart Kernel and Run All Cells…", exact=True).click()
    page.get_by_role("button", name="Confirm Kernel Restart").click()


def step(page: Any, title: str) -> Any:
    """Wait for the card of this step."""
    return page.get_by_role("heading", name=re.compile(rf"^\d+\. {re.escape(title)}$"), level=3).wait_for()


def press(page: Any, name: str) -> None:
    page.get_by_role("button", name=name, exact=True).click()


def save(page: Any) -> None:
    press(page, "Save and continue")


def console_values(page: Any) -> tuple[Any, dict[str, str]]:
    """The practice console's page, and what it shows."""
    with page.context.expect_page() as opened:
        page.get_by_role("link", name="Open the practice console").click()
    console = opened.value
    console.wait_for_load_state()
    names = console.locator("dt").all_inner_texts()
    return console, dict(zip(names, console.locator("dd").all_inner_texts(), strict=True))


def sign_in(page: Any, label: str) -> Any:
    """Press the connect button and follow the link; the provider's page."""
    press(page, label)
    with page.context.expect_page() as opened:
        page.get_by_role("link", name="Open the sign-in page").click()
    opened.value.wait_for_load_state()
    return opened.value


@pytest.mark.req("AZ-01", "AZ-21", "AZ-28", "AZ-29", "AZ-39")
def test_the_azure_guide_in_jupyterlab_to_the_green_tag(
    sqlite_file_ops: Ops, notebooks_copy: Path, lab: Any, page_of: Callable[..., Any], screenshot: Callable[..., Path]
) -> None:
    ops = sqlite_file_ops
    with_parameters(notebooks_copy, "connect_microsoft365", practice=True, mailbox=ANN, behaves="smtp-auth-off")
    with lab(ops.workspace.path) as address:
        page = page_of(height=1300)
        page.goto(address("connect_microsoft365"))
        page.locator(".jp-Notebook").wait_for()
        page.get_by_text("Python 3 (ipykernel) | Idle").wait_for()
        run_all(page)
        page.get_by_text("Step 1 of 18, 0 passed").wait_for()
        step(page, "Which account is it?")
        page.get_by_label("Kind of address").select_option(label="An address of a custom domain (Microsoft 365)")
        page.get_by_label("Outlook mailbox").fill(ANN)
        screenshot(page, "guide-azure-first-light")
        save(page)
        for title in ("Open the portal", "Open Microsoft Entra ID", "Add an app registration"):
            step(page, title)
            press(page, "Done")
        step(page, "Register an application")
        save(page)
        step(page, "Give it the permissions")
        save(page)
        step(page, "Grant admin consent")
        screenshot(page, "guide-azure-consent-light")
        press(page, "Done")
        step(page, "Say who may use it")
        save(page)
        step(page, "Copy the Client ID")
        console, shown = console_values(page)
        page.get_by_label("Client ID").fill(shown["Client ID"])
        save(page)
        step(page, "Make a client secret")

        # going back and forth loses nothing, neither stored nor just typed
        page.get_by_label("Expiration date").fill("2027-11-30")
        press(page, "Back")
        step(page, "Copy the Client ID")
        assert page.get_by_label("Client ID").input_value() == shown["Client ID"]
        press(page, "Continue")
        step(page, "Make a client secret")
        assert page.get_by_label("Expiration date").input_value() == "2027-11-30"

        # the Secret ID in place of the Value: refused with words, and mended
        page.get_by_role("textbox", name="Client Secret Value").fill(shown["Secret ID"])
        press(page, "Save secret: Client Secret Value")
        page.get_by_text("This looks like the Secret ID; paste the Value.").wait_for()
        page.get_by_role("textbox", name="Client Secret Value").fill(shown["Value"])
        press(page, "Save secret: Client Secret Value")
        page.get_by_text("Saved in the vault.").wait_for()
        save(page)
        step(page, "Enable Outlook")

        restart(page)  # the kernel dies, with the sandbox in it
        page.get_by_text("Step 11 of 18, 10 passed").first.wait_for()
        step(page, "Enable Outlook")
        save(page)
        step(page, "Switch custom servers on")
        save(page)
        step(page, "Enter the credentials")
        press(page, "Done")
        step(page, "Make the outgoing server")
        save(page)
        step(page, "Connect your Outlook account")
        provider = sign_in(page, "Connect your Outlook account")
        provider.get_by_role("button", name=ANN).click()
        provider.get_by_role("button", name="Accept").or_(provider.get_by_role("button", name="Yes")).click()
        provider.get_by_role("heading", name="Signed in").wait_for(timeout=90_000)
        page.get_by_text("✓ Outlook Token Valid").first.wait_for()

        # SMTP sign-in is switched off: Test Connection says so, with the branch that mends it
        step(page, "Test Connection")
        press(page, "Check now")
        page.get_by_text("SMTP sign-in is switched off").first.wait_for()
        screenshot(page, "guide-azure-smtp-off-light")
        console, _ = console_values(page)
        console.get_by_label(f"{ANN} behaves as").select_option("healthy")
        console.get_by_role("button", name="Save behaviour").click()
        console.get_by_text("The account behaves so from now on.").wait_for()
        press(page, "Check now")
        step(page, "Connect the incoming server")
        press(page, "Check now")
        # a mistake that only the first real mail shows
        console.get_by_label(f"{ANN} behaves as").select_option("send-as-denied")
        console.get_by_role("button", name="Save behaviour").click()
        step(page, "Send the first mail")
        press(page, "Check now")
        page.get_by_text("The mailbox may not send as this sender").first.wait_for()
        screenshot(page, "guide-azure-first-mail-light")
        console.get_by_label(f"{ANN} behaves as").select_option("healthy")
        console.get_by_role("button", name="Save behaviour").click()
        console.get_by_text("The account behaves so from now on.").wait_for()
        press(page, "Check now")
        page.get_by_text("All 18 steps passed.").first.wait_for()
        screenshot(page, "guide-azure-done-light")
    connected = ops.tokens.accounts.load("practice-outlook")
    assert connected.account.user == ANN
    assert connected.grant is not None
    assert ops.setup.servers == ()  # what was practised must never carry real mail
    for path in notebooks_copy.rglob("*"):  # what was saved on disk holds no secret
        if path.is_file():
            assert shown["Value"].encode() not in path.read_bytes(), path


@pytest.mark.req("GO-01", "GO-26", "GO-27", "GO-31")
def test_the_google_guide_in_the_dark_to_the_green_tag(
    sqlite_file_ops: Ops, notebooks_copy: Path, lab: Any, page_of: Callable[..., Any], screenshot: Callable[..., Path]
) -> None:
    ops = sqlite_file_ops
    wrong = "{redirect_uri}/"
    with_parameters(notebooks_copy, "connect_google", practice=True, mailbox=GOOGLE, registered=wrong)
    dark = notebooks_copy / ".lab" / "@jupyterlab" / "apputils-extension" / "themes.jupyterlab-settings"
    dark.parent.mkdir(parents=True)
    dark.write_text('{"theme": "JupyterLab Dark"}')
    with lab(ops.workspace.path) as address:
        page = page_of("dark", height=1300)
        page.goto(address("connect_google"))
        page.locator(".jp-Notebook").wait_for()
        page.get_by_text("Python 3 (ipykernel) | Idle").wait_for()
        run_all(page)
        page.get_by_text("Step 1 of 15, 0 passed").or_(page.get_by_text("Step 1 of 14, 0 passed")).wait_for()
        page.get_by_label("Kind of address").select_option(label="A personal Gmail address")
        page.get_by_label("Gmail mailbox").fill(GOOGLE)
        save(page)
        step(page, "Open the console")
        save(page)
        step(page, "Create a project")
        press(page, "Done")
        step(page, "Choose the user type")
        page.get_by_label("User Type").select_option(label="Internal")
        save(page)
        refusal = page.get_by_role("alert").filter(has_text="Personal accounts may only be External")
        refusal.wait_for()  # the step says so too: a press before the answer would be ignored
        page.get_by_label("User Type").select_option(label="External")
        save(page)
        step(page, "Describe the app")
        save(page)
        step(page, "Add the test users")

        restart(page)
        step(page, "Add the test users")
        save(page)
        step(page, "Back to the dashboard")
        press(page, "Done")
        step(page, "Create the client")
        save(page)
        step(page, "Copy Client ID and Client Secret")
        console, shown = console_values(page)
        # id and secret in each other's field: told before anything is kept
        page.get_by_label("Client ID (optional)").fill(shown["Client Secret"])
        save(page)
        page.get_by_text("This is the Client Secret, not the Client ID.").first.wait_for()
        screenshot(page, "guide-google-swapped-dark")
        page.get_by_label("Client ID (optional)").fill(shown["Client ID"])
        # refused first, and the text stays in its field; then the one button takes what stands there
        secret = page.get_by_role("textbox", name="Client Secret", exact=True)
        secret.fill(shown["Client ID"])
        save(page)
        page.get_by_role("alert").filter(has_text="This is the Client ID, not the Client Secret.").wait_for()
        assert secret.input_value() == shown["Client ID"]
        secret.fill(shown["Client Secret"])
        save(page)
        step(page, "Enable Gmail")
        save(page)
        step(page, "Enter the credentials")
        save(page)
        step(page, "Make the outgoing server")
        save(page)
        step(page, "Connect your Gmail Account")

        # the console holds a slash too many: Google's page refuses, the guide shows the letter, the person mends it
        provider = sign_in(page, "Connect your Gmail Account")
        provider.get_by_text("Error 400: redirect_uri_mismatch").wait_for()
        seen = provider.get_by_role("heading", level=2).inner_text()
        registered = console.get_by_label("Redirect URI").input_value()
        page.get_by_text("Something else happened?").click()
        page.get_by_label("What do you see instead?").fill(seen)
        page.get_by_label("Address in the console").fill(registered)
        press(page, "Explain")
        page.get_by_text("Authorization Error / Error 400: redirect_uri_mismatch").wait_for()
        page.get_by_text("a slash at the end of one only").wait_for()
        screenshot(page, "guide-google-mismatch-dark")
        console.get_by_label("Redirect URI").fill(registered.rstrip("/"))
        console.get_by_role("button", name="Save redirect URI").click()
        console.get_by_text("Redirect address saved.").wait_for()
        provider = sign_in(page, "Connect your Gmail Account")
        provider.get_by_role("button", name=GOOGLE).click()
        provider.get_by_role("button", name="Allow").or_(provider.get_by_role("button", name="Continue")).click()
        provider.get_by_role("heading", name="Signed in").wait_for(timeout=90_000)
        page.get_by_text("✓ Gmail Token Valid").first.wait_for()
        step(page, "Test the Connection")
        press(page, "Check now")
        step(page, "Send the first mail")
        # a mistake that only the first real mail shows: the account has sent its messages for the day
        console.get_by_label(f"{GOOGLE} behaves as").select_option("limit-reached")
        console.get_by_role("button", name="Save behaviour").click()
        console.get_by_text("The account behaves so from now on.").wait_for()
        press(page, "Check now")
        page.get_by_text("The account has sent its messages for the day").first.wait_for()
        screenshot(page, "guide-google-first-mail-dark")
        console.get_by_label(f"{GOOGLE} behaves as").select_option("healthy")
        console.get_by_role("button", name="Save behaviour").click()
        console.get_by_text("The account behaves so from now on.").wait_for()
        press(page, "Check now")
        page.get_by_text("All 15 steps passed.").first.wait_for()
        screenshot(page, "guide-google-done-dark")
    assert ops.tokens.accounts.load("practice-gmail").account.user == GOOGLE
    assert ops.setup.servers == ()


@pytest.mark.req("MJ-01", "MJ-05", "MJ-16", "MJ-18", "MJ-24")
def test_the_mailjet_guide_to_the_end(
    sqlite_file_ops: Ops, notebooks_copy: Path, lab: Any, page_of: Callable[..., Any], screenshot: Callable[..., Path]
) -> None:
    """With two things wrong on the way: the keys swapped, and a record with a letter too many."""
    ops = sqlite_file_ops
    with_parameters(notebooks_copy, "connect_mailjet", practice=True, domain="acme.example")
    with lab(ops.workspace.path) as address:
        page = page_of(height=1300)
        page.goto(address("connect_mailjet"))
        page.locator(".jp-Notebook").wait_for()
        page.get_by_text("Python 3 (ipykernel) | Idle").wait_for()
        run_all(page)
        step(page, "Find the SMTP settings")
        save(page)
        step(page, "Get the keys")
        _, shown = console_values(page)

        def keys(name: str, word: str) -> None:
            page.get_by_label("API key (becomes the username)").fill(name)
            page.get_by_role("textbox", name="Secret Key (becomes the password)").fill(word)
            press(page, "Save secret: Secret Key (becomes the password)")
            page.get_by_text("Saved in the vault.").wait_for()
            save(page)

        keys(shown["Secret Key"], shown["API key"])
        page.get_by_text("The keys are refused").or_(
            page.get_by_text("does not know this pair of keys")
        ).first.wait_for()
        screenshot(page, "guide-mailjet-keys-light")
        keys(shown["API key"], shown["Secret Key"])
        step(page, "Say who sends")
        page.get_by_label("What to validate").select_option(label="The whole domain (its DNS is accessible)")
        save(page)
        step(page, "Add the domain")
        press(page, "Done")
        step(page, "Publish the TXT record")
        page.get_by_label("Host").last.fill(shown["Host"])
        page.get_by_label("Value").last.fill(shown["Value"] + "x")
        save(page)
        page.get_by_text("do not press Check Now yet").first.wait_for()
        page.get_by_label("Value").last.fill(shown["Value"])
        save(page)
        step(page, "Check Now")
        press(page, "Check now")
        step(page, "Authenticate the domain")
        save(page)
        step(page, "Make the outgoing server")
        save(page)
        step(page, "Test the Connection")
        press(page, "Check now")
        page.get_by_text(re.compile(r"All \d+ steps passed\.")).first.wait_for()
        screenshot(page, "guide-mailjet-done-light")
    assert ops.setup.servers == ()
