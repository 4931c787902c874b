from __future__ import annotations

from django.contrib import messages
from django.contrib.auth.views import LoginView, PasswordChangeView
from django.forms import Form
from django.http import HttpResponse
from django.urls import reverse_lazy
from django.views.generic import TemplateView


class Login(LoginView):
    template_name = "login.html"
    redirect_authenticated_user = True


class Register(TemplateView):
    """Accounts come from the organisation's list; the page says whom to ask."""

    template_name = "register.html"


class Password(PasswordChangeView):
    template_name = "password.html"
    success_url = reverse_lazy("dashboard")

    def form_valid(self, form: Form) -> HttpResponse:
        self.request.user.must_change_password = False
        response = super().form_valid(form)
        messages.success(self.request, "Your new password is set.")
        return response
