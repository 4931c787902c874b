from django.contrib import admin
from django.contrib.auth.admin import UserAdmin

from .models import Organisation, User


@admin.register(Organisation)
class OrganisationAdmin(admin.ModelAdmin):
    list_display = ("code", "name", "type", "active", "onboarded_at", "suspended_at")
    list_filter = ("active", "type")
    search_fields = ("code", "name")


@admin.register(User)
class OrganisationUserAdmin(UserAdmin):
    list_display = ("username", "organisation", "role", "is_active", "last_login")
    list_filter = ("organisation", "role", "is_active")
    fieldsets = (
        *UserAdmin.fieldsets,
        ("Organisation", {"fields": ("organisation", "role", "full_name", "must_change_password")}),
    )
