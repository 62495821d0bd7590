"""What happens when somebody signs in, by whatever way: what they had as a guest comes along."""

from typing import Any

from allauth.account.adapter import DefaultAccountAdapter
from django.http import HttpRequest, HttpResponse

from marketplace.reader import joining


class AccountAdapter(DefaultAccountAdapter):
    """allauth's account adapter, which each way to sign in passes once."""

    def post_login(self, request: HttpRequest, user: Any, **options: Any) -> HttpResponse:
        """Move this browser's library and purse to the account. The session survives the change of user."""
        joining.bring_along(request)
        return super().post_login(request, user, **options)
